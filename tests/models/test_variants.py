import pytest
import torch

from lightning_dna.errors import ConfigError
from lightning_dna.models.cost import parameter_counts
from lightning_dna.models.language_model import build_model
from lightning_dna.models.variants import VARIANTS, variant_config

# Counted from the released checkpoints' configurations: layers, width, longest input, parameters.
RELEASED = {
    "hyenadna-tiny-1k": (2, 128, 1_026, 436_096),
    "hyenadna-tiny-1k-d256": (2, 256, 1_026, 1_641_088),
    "hyenadna-tiny-16k": (2, 128, 16_386, 436_096),
    "hyenadna-small-32k": (4, 256, 32_770, 3_277_568),
    "hyenadna-medium-160k": (8, 256, 160_002, 6_550_528),
    "hyenadna-medium-450k": (8, 256, 450_002, 6_550_528),
    "hyenadna-large-1m": (8, 256, 1_000_002, 6_550_528),
}


@pytest.mark.parametrize("name", sorted(RELEASED))
def test_released_shapes_and_parameter_counts(name):
    config = variant_config(name)
    counts = parameter_counts(config)
    assert (config.layers, config.width, config.max_length, counts.total) == RELEASED[name]
    assert (config.objective, config.mixer, config.feedforward) == ("next_token", "hyena", "mlp")
    assert counts.head == 0


def test_the_smallest_released_shape_has_that_many_weights():
    """The count again, from the weights of a model that exists."""
    model = build_model(variant_config("hyenadna-tiny-1k"), seed=0)
    assert sum(parameter.numel() for parameter in model.parameters()) == 436_096
    assert model(torch.tensor([[7, 8, 9, 10]])).logits.shape == (1, 4, 16)


def test_names_say_what_the_rows_do():
    """Every axis that a row's name mentions is what the row sets."""
    for name, variant in VARIANTS.items():
        config = variant_config(name)
        words = set(name.split("_"))
        if "-" in name or name in ("attndna", "dnabert2", "gpn"):  # a published model's own name
            continue
        assert set(config.mixers) <= words
        assert ("hybrid" in words) == (len(set(config.mixers)) > 1)
        assert ("post" in words) == (config.norm_placement == "post")
        assert ("rmsnorm" in words) == (config.norm == "rmsnorm")
        assert ("asymmetric" in words) == (config.position_scheme == "alibi_asymmetric")
        assert words & {"linear", "ntk"} == {config.rope_scaling} - {"none"}
        assert words & {"averaged", "equivariant"} == {config.strand} - {"single"}
        assert ("order" in words) == (config.hyena_order != 2)
        assert ("next" in words) == config.causal
        assert ("local" in words) == (config.attention_reach is not None)
        assert words & {"geglu", "swiglu"} <= {config.feedforward}
        assert ("mamba" in words) == ("mamba" in config.mixers)
        position = words & {"alibi", "rope", "learned", "sinusoidal", "none"}
        assert position <= {config.position_scheme.removesuffix("_asymmetric")}
        assert variant.description


def test_gated_rows_have_the_parameters_of_their_mlp_rows():
    for mlp in ("attention_alibi", "attention_rope", "hyena"):
        wanted = parameter_counts(variant_config(mlp)).total
        for gate in ("geglu", "swiglu"):
            assert parameter_counts(variant_config(f"{mlp}_{gate}")).total == wanted


def test_likenesses_keep_the_size_they_are_named_for():
    """At most two million parameters, in closed form; and no pooling: a vector for every base."""
    d, taps, layers = 128, 9, 5
    config = variant_config("convnova-like")
    block = 2 * (taps * d * d + d) + 2 * (d * d + d) + 2 * 2 * d  # gate, value, two maps, two norms
    head = d * d + d + 2 * d + 16 * d + 16
    total = parameter_counts(config).total
    assert total == 16 * d + layers * block + 2 * d + head
    assert total <= 2_000_000
    model = build_model(variant_config("enformer-like", width=16, heads=2), seed=0)
    assert model(torch.full((1, 21), 7)).hidden.shape == (1, 21, 16)


def test_changes_replace_the_row():
    config = variant_config("attention_local", width=64, attention_reach=5)
    assert (config.width, config.attention_reach, config.position) == (64, 5, "alibi")


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown variant 'atention_rope'.*Did you mean"):
        variant_config("atention_rope")
    with pytest.raises(ConfigError, match="acts on attention"):
        variant_config("hyena", position="rope")
