import pytest
import torch

from lightning_dna.errors import ConfigError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.embedding import embed, reach, trunk_at
from lightning_dna.models.language_model import build_model
from lightning_dna.testing.models import filled, random_tokens

TOY = {"width": 8, "heads": 2, "layers": 3}
FINITE = [
    ({"mixer": "convolution", "convolution_taps": 5}, (6, 6)),
    ({"mixer": "convolution", "convolution_taps": 5, "convolution_first_taps": 9}, (8, 8)),
    ({"mixer": "convolution", "convolution_taps": 5, "objective": "next_token"}, (12, 0)),
    ({"mixer": "dilated", "convolution_taps": 3, "convolution_cycle": 2}, (4, 4)),
    ({"mixer": "attention", "attention_reach": 2}, (6, 6)),
    ({"mixer": "attention", "attention_reach": 2, "objective": "next_token"}, (6, 0)),
    ({"mixer": "attention", "attention_reach": 2, "position": "rope"}, (6, 6)),
    ({"mixer": "convolution", "convolution_taps": 3, "strand": "equivariant"}, (3, 3)),
]


@pytest.mark.parametrize(("changes", "limits"), FINITE)
def test_overlap_of_the_reach_gives_the_whole_forward(changes, limits):
    config = ModelConfig(**TOY, **changes)
    assert reach(config) == limits
    model = filled(build_model(config, seed=0)).double().eval()
    tokens = random_tokens(2, 50)
    with torch.no_grad():
        whole = model(tokens).hidden
    overlap = max(limits)
    for chunk in (7, 16, 49, 50, 80):
        found = embed(model, tokens, chunk=chunk, overlap=overlap)
        assert found.exact
        assert found.windows == -(-50 // chunk)
        torch.testing.assert_close(found.states, whole, rtol=0, atol=1e-10)
    short = embed(model, tokens, chunk=7, overlap=overlap - 1)
    assert not short.exact
    assert (short.states - whole).abs().max() > 1e-6  # so the reach is no larger than it must be


def test_average_over_positions():
    model = filled(build_model(ModelConfig(mixer="convolution", **TOY), seed=0)).eval()
    tokens = random_tokens(2, 41)
    with torch.no_grad():
        expected = model(tokens).hidden.double().mean(dim=1)
    found = embed(model.backbone, tokens, chunk=10, overlap=12, pooling="mean")
    assert found.states.dtype == torch.float32
    torch.testing.assert_close(found.states.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"mixer": "hyena"}, {"mixer": "attention"}, {"mixer": "convolution", "position": "learned"}],
)
def test_global_models_are_read_through_windows_and_say_so(changes):
    config = ModelConfig(**TOY, **changes, max_length=20, hyena_filter_width=6)
    assert reach(config) is None
    model = filled(build_model(config, seed=0)).double()
    tokens = random_tokens(1, 30)
    found = embed(model, tokens, chunk=10, overlap=5)
    assert not found.exact
    assert model.training  # as it was
    model.eval()
    with torch.no_grad():
        middle = model(tokens[:, 5:25]).hidden[:, 5:15]
    torch.testing.assert_close(found.states[:, 10:20], middle, rtol=0, atol=1e-12)
    one = embed(model, tokens[:, :20], chunk=20, overlap=0)
    assert one.exact


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chunk": 0, "overlap": 1}, "chunk: found 0"),
        ({"chunk": 5, "overlap": -1}, "overlap: found -1"),
        ({"chunk": 15, "overlap": 3}, r"window of 21 tokens.*model\.max_length = 20"),
        ({"chunk": 5, "overlap": 1, "pooling": "max"}, "pooling: found 'max'.*none, mean"),
    ],
)
def test_refusals(arguments, message):
    config = ModelConfig(mixer="hyena", **TOY, max_length=20, hyena_filter_width=6)
    with pytest.raises(ConfigError, match=message):
        embed(build_model(config, seed=0), random_tokens(1, 50), **arguments)


def test_nothing_to_embed():
    model = build_model(ModelConfig(**TOY), seed=0)
    with pytest.raises(ConfigError, match="empty sequence"):
        embed(model, torch.zeros(1, 0, dtype=torch.int64), chunk=5, overlap=0)


class TestTrunkAt:
    """A trunk cut off after a block is what hands on that block's output."""

    @pytest.mark.parametrize("layer", [0, 1, 2, 3, -1])
    @pytest.mark.parametrize("placement", ["pre", "post"])
    def test_states_are_those_after_the_block(self, layer, placement):
        config = ModelConfig(**TOY, mixer="attention", norm_placement=placement)
        model = filled(build_model(config, seed=0)).double().eval()
        tokens, seen = random_tokens(2, 9), []
        for block in model.backbone.blocks:
            block.register_forward_hook(lambda block, given, out: seen.append(out))
        with torch.no_grad():
            whole = model.backbone(tokens)
            trunk = trunk_at(model.backbone, layer).double().eval()
            found = trunk(tokens)
            before = model.backbone.embedding_norm(model.backbone.embedding(tokens))
        expected = [before, *seen[:2], whole, whole][layer]
        torch.testing.assert_close(found, expected)

    def test_the_model_stays_as_it_is(self):
        model = build_model(ModelConfig(**TOY), seed=0).requires_grad_(False)
        trunk = trunk_at(model.backbone, 1)
        assert len(model.backbone.blocks) == 3
        assert all(part.requires_grad for part in trunk.parameters())
        assert not any(part.requires_grad for part in model.parameters())

    def test_a_layer_that_is_not_there(self):
        with pytest.raises(ConfigError, match=r"finetune\.layer is 4, .* 3 blocks; allowed: -1 to"):
            trunk_at(build_model(ModelConfig(**TOY), seed=0).backbone, 4)
