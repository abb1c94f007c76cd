"""Shapes of published models: parameter counts from the papers, and from a count by hand."""

import pytest
import torch

from lightning_dna import ModelConfig, build_model
from lightning_dna.errors import ConfigError
from lightning_dna.models.cost import flops_per_base, parameter_counts
from lightning_dna.models.variants import VARIANTS, variant_config


def encoder(layers, width, inner, vocabulary, *, norms, embeddings, head, bias=0):
    """Count a gated encoder: attention with biases, three matrices, two norms a layer."""
    attention = 4 * (width * width + width)
    block = attention + 3 * width * inner + bias + 2 * 2 * width
    transform = width * width + width + 2 * width
    return layers * block + embeddings * width + norms * 2 * width + transform + head


def test_dnabert2():
    total = parameter_counts(variant_config("dnabert2")).total
    assert round(total / 1e6, 2) == 117.07
    sizes = {"norms": 1, "embeddings": 4096 + 2, "head": 4096, "bias": 768}
    assert total == encoder(12, 768, 3072, 4096, **sizes)


def test_dnagrinder_as_inferred():
    assert round(parameter_counts(variant_config("dnagrinder-like")).total / 1e6, 2) == 63.99
    assert "inferred" in VARIANTS["dnagrinder-like"].description


@pytest.mark.parametrize(
    ("name", "layers", "width", "millions"),
    [
        ("nt-v2-50m", 12, 512, 54.8),
        ("nt-v2-100m", 22, 512, 96.8),
        ("nt-v2-250m", 24, 768, 233.5),
        ("nt-v2-500m", 29, 1024, 496.2),
    ],
)
def test_nucleotide_transformers(name, layers, width, millions):
    total = parameter_counts(variant_config(name)).total
    assert abs(total / 1e6 - millions) < 0.06
    head = 4107 * width + 4107  # a table of its own
    sizes = {"norms": 1, "embeddings": 4107, "head": head}
    assert total == encoder(layers, width, 4 * width, 4107, **sizes)


@pytest.mark.parametrize(
    ("name", "trunk", "width"), [("attndna", 396_544, 128), ("attndna-deep", 6_318_080, 256)]
)
def test_attention_baselines(name, trunk, width):
    """The trunk as published, and around it 16 embeddings and the final norm."""
    config = variant_config(name)
    assert parameter_counts(config).total == trunk + 16 * width + 2 * width
    assert config.causal
    assert config.heads == 8


TOY = {"width": 8, "heads": 2, "layers": 3, "vocab_size": 16}


def test_what_each_setting_of_a_published_shape_adds():
    plain = parameter_counts(ModelConfig(**TOY, feedforward="geglu"))

    def added(**changes):
        counts = parameter_counts(ModelConfig(**TOY, feedforward="geglu", **changes))
        assert counts.total - plain.total == sum(
            getattr(counts, part) - getattr(plain, part)
            for part in ("embedding", "mixer", "feedforward", "norm", "head")
        )
        return counts.total - plain.total

    inner = ModelConfig(**TOY, feedforward="geglu").inner_width
    assert added(gated_bias="output") == 3 * 8
    assert added(gated_bias="both") == 3 * (8 + 2 * inner)
    assert added(token_types=2) == 2 * 8
    transform = 8 * 8 + 8 + 2 * 8 + 16
    assert added(head="transform") == transform
    assert added(head="transform_untied") == transform + 16 * 8
    assert added(norm_epsilon=1e-12) == 0


def test_the_transform_of_a_head_is_counted():
    forward = [
        flops_per_base(ModelConfig(**TOY, head=head), 10).forward["head"]
        for head in ("tied", "transform", "transform_untied")
    ]
    assert forward == [2 * 8 * 16, 2 * 8 * 16 + 2 * 8 * 8, 2 * 8 * 16 + 2 * 8 * 8]


def test_epsilon_reaches_every_norm():
    """With an enormous one, norms leave almost nothing of what they are given."""
    config = ModelConfig(**TOY, norm_epsilon=0.5, head="transform", norm_placement="post")
    model = build_model(config, seed=0)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert [norm.eps for norm in norms] == [0.5] * (1 + 2 * 3 + 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"head": "untied"}, "unknown head 'untied'.*transform_untied"),
        ({"gated_bias": "all"}, "unknown gated_bias 'all'; allowed: both, none, output"),
        ({"gated_bias": "output"}, "found 'output', but model.feedforward is 'mlp'"),
        ({"token_types": -1}, "model.token_types: found -1.*at least 0"),
        ({"norm_epsilon": -1e-5}, "model.norm_epsilon: found -1e-05"),
    ],
)
def test_bad_settings_say_what_to_change(changes, said):
    with pytest.raises(ConfigError, match=said):
        ModelConfig(**TOY, **changes)
