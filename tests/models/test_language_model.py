import copy
import pickle

import pytest
import torch

from lightning_dna.errors import ConfigError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.models.norms import make_norm
from lightning_dna.testing.models import random_normal, random_tokens


def config_of(**changes) -> ModelConfig:
    settings = {"width": 16, "heads": 2, "layers": 2, "max_length": 32, "hyena_filter_width": 8}
    return ModelConfig(**{**settings, **changes})


def test_blocks_are_pre_norm_residuals():
    """The whole model, written out from its parts."""
    model = build_model(config_of(layers=1, position="none", initial_std=0.3), seed=0)
    tokens = random_tokens(2, 7)
    trunk, block = model.backbone, model.backbone.blocks[0]
    x = trunk.embedding.weight[tokens]
    x = x + block.mixer(torch.nn.functional.layer_norm(x, (16,)))
    x = x + block.feedforward(torch.nn.functional.layer_norm(x, (16,)))
    hidden = torch.nn.functional.layer_norm(x, (16,))
    output = model(tokens)
    torch.testing.assert_close(output.hidden, hidden)
    torch.testing.assert_close(output.logits, hidden @ trunk.embedding.weight.T)


def test_post_norm_normalises_the_stream_after_each_branch():
    model = build_model(
        config_of(layers=2, position="none", initial_std=0.3, norm_placement="post"), seed=0
    )
    tokens = random_tokens(2, 7)
    trunk = model.backbone
    x = torch.nn.functional.layer_norm(trunk.embedding.weight[tokens], (16,))
    for block in trunk.blocks:
        x = torch.nn.functional.layer_norm(x + block.mixer(x), (16,))
        x = torch.nn.functional.layer_norm(x + block.feedforward(x), (16,))
    torch.testing.assert_close(model(tokens).hidden, x)
    pre = build_model(config_of(layers=2), seed=0)
    sizes = [sum(p.numel() for p in one.parameters()) for one in (pre, model)]
    assert sizes[0] == sizes[1]


def test_a_hybrid_has_the_mixers_of_its_pattern():
    model = build_model(config_of(mixer=["hyena", "dilated", "attention"], layers=6), seed=0)
    names = [type(block.mixer).__name__ for block in model.backbone.blocks]
    assert names == ["Hyena", "DilatedConvolution", "Attention"] * 2
    dilations = [model.backbone.blocks[layer].mixer.gate_and_value.dilation for layer in (1, 4)]
    assert dilations == [2, 16]


def test_rmsnorm_divides_by_the_root_mean_square():
    norm, x = make_norm(config_of(norm="rmsnorm")), random_normal(2, 3, 16)
    expected = x / (x.pow(2).mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(norm(x), expected)
    model = build_model(config_of(norm="rmsnorm"), seed=0)
    assert "backbone.final_norm.bias" not in model.state_dict()
    assert model(random_tokens(1, 5)).logits.isfinite().all()


@pytest.mark.parametrize("mixer", ["attention", "hyena"])
def test_a_full_mask_is_no_mask(mixer):
    model = build_model(config_of(mixer=mixer), seed=0)
    tokens = random_tokens(2, 9)
    full = torch.ones(2, 9, dtype=torch.bool)
    assert torch.equal(model(tokens, full).logits, model(tokens).logits)


def test_dropout_acts_in_training_alone():
    model = build_model(config_of(dropout=0.5), seed=0)
    tokens = random_tokens(2, 9)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert not torch.equal(model(tokens).logits, model(tokens).logits)
    model.eval()
    plain = build_model(config_of(), seed=0)
    assert torch.equal(model(tokens).logits, plain(tokens).logits)


def test_too_long_for_learned_positions():
    with pytest.raises(ConfigError, match=r"33 tokens.*learned positions.*set model\.max_length"):
        build_model(config_of(position="learned"), seed=0)(random_tokens(1, 33))


@pytest.mark.parametrize("position", ["alibi", "rope"])
def test_validation_before_training_leaves_nothing_behind(position):
    """Lightning validates in inference mode first; what is kept from there must allow training."""
    model = build_model(config_of(position=position), seed=0)
    tokens = random_tokens(2, 9)
    with torch.inference_mode():
        before = model(tokens).logits.clone()
    output = model(tokens).logits
    output.square().mean().backward()
    assert torch.equal(output, before)


@pytest.mark.parametrize("mixer", ["attention", "hyena", "dilated"])
def test_models_copy_and_pickle_after_use(mixer):
    model = build_model(config_of(mixer=mixer), seed=0)
    tokens = random_tokens(2, 9)
    logits = model(tokens).logits
    assert torch.equal(copy.deepcopy(model)(tokens).logits, logits)
    assert torch.equal(pickle.loads(pickle.dumps(model))(tokens).logits, logits)  # noqa: S301


def test_weight_decay_spares_all_but_matrices():
    spared = build_model(config_of(mixer="hyena", layers=1), seed=0).without_weight_decay()
    decayed = set(build_model(config_of(mixer="hyena", layers=1), seed=0).state_dict()) - spared
    assert decayed == {
        "backbone.blocks.0.mixer.input.weight",
        "backbone.blocks.0.mixer.output.weight",
        "backbone.blocks.0.feedforward.expand.weight",
        "backbone.blocks.0.feedforward.contract.weight",
    }
    attention = build_model(config_of(position="learned"), seed=0).without_weight_decay()
    assert {"backbone.embedding.weight", "backbone.positions.table.weight"} <= attention


@pytest.mark.parametrize(
    "mixer", ["attention", "hyena", "convolution", "dilated", ("dilated", "attention")]
)
def test_a_model_learns_to_copy_its_neighbour(mixer):
    """A few steps on a task that needs the left neighbour: the loss falls far below chance."""
    model = build_model(config_of(mixer=mixer, objective="next_token", width=32), seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    losses = []
    for step in range(60):
        period = random_tokens(16, 2, seed=step)
        tokens = period.repeat(1, 8)  # ABABAB...: after two bases everything is known
        logits = model(tokens[:, :-1]).logits[:, 2:]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 3:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 < losses[0]
