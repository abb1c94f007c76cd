import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lightning_dna.errors import ConfigError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.cost import flops_per_base, parameter_counts
from lightning_dna.models.language_model import build_model
from lightning_dna.models.mixers.convolution import fast_fft_length
from lightning_dna.models.variants import VARIANTS, variant_config
from lightning_dna.testing.models import random_tokens

HYENA = {"mixer": "hyena", "objective": "next_token"}
MLP = {"feedforward": "mlp"}
# Literature's iso-parameter inner widths of gated feed-forwards, 8d/3 to a multiple of 64.
GLU = {"feedforward": "swiglu", "feedforward_match": "width"}


def trunk(width: int, layers: int, **changes) -> int:
    """Parameters of the blocks alone."""
    counts = parameter_counts(ModelConfig(width=width, layers=layers, heads=4, **changes))
    final_norm = 2 * width
    return counts.mixer + counts.feedforward + counts.norm - final_norm


@pytest.mark.parametrize(
    ("width", "layers", "hyena_mlp", "attention_mlp", "inner", "attention_glu", "attention_wide"),
    [
        (128, 2, 433_792, 396_544, 320, 378_880, 526_336),
        (256, 2, 1_636_480, 1_579_520, 704, 1_609_728, 2_101_248),
        (256, 4, 3_272_960, 3_159_040, 704, 3_219_456, 4_202_496),
        (256, 8, 6_545_920, 6_318_080, 704, 6_438_912, 8_404_992),
        (512, 8, 25_604_608, 25_219_072, 1_344, 24_936_448, 33_587_200),
        (768, 12, 85_869_312, 85_054_464, 2_048, 85_008_384, 113_319_936),
    ],
)
def test_trunk_sizes_of_the_literature(
    width, layers, hyena_mlp, attention_mlp, inner, attention_glu, attention_wide
):
    """Biases in attention and MLP, none in gated feed-forwards: the published conventions."""
    assert trunk(width, layers, **HYENA, **MLP) == hyena_mlp
    assert trunk(width, layers, **MLP) == attention_mlp
    assert trunk(width, layers, **GLU, feedforward_width=inner) == attention_glu
    assert trunk(width, layers, **GLU) == attention_wide


def test_counts_by_part_in_closed_form():
    counts = parameter_counts(
        ModelConfig(width=8, layers=3, heads=2, position="learned", max_length=10)
    )
    assert counts.embedding == 16 * 8 + 10 * 8
    assert counts.mixer == 3 * 4 * (8 * 8 + 8)
    assert counts.feedforward == 3 * (8 * 32 + 32 + 32 * 8 + 8)
    assert counts.norm == (3 * 2 + 1) * 16
    assert counts.total == counts.embedding + counts.mixer + counts.feedforward + counts.norm
    assert "embedding 208, mixer 864" in str(counts)


def test_rmsnorm_has_no_shift():
    assert parameter_counts(ModelConfig(width=8, layers=1, heads=1, norm="rmsnorm")).norm == 3 * 8


def test_counting_takes_no_memory():
    huge = ModelConfig(width=16_384, layers=64, heads=128, max_length=1_000_000)
    assert parameter_counts(huge).total > 2e11


def test_attention_flops_in_closed_form():
    d, length, layers = 128, 512, 2
    flops = flops_per_base(ModelConfig(width=d, layers=layers), length)
    assert flops.forward == {
        "projection": layers * 2 * 4 * d * d,
        "attention": layers * 4 * length * d,
        "feedforward": layers * 2 * 8 * d * d,
        "head": 2 * 16 * d,
    }
    assert flops.backward["projection"] == 2 * flops.forward["projection"]
    assert flops.backward["attention"] == 2.5 * flops.forward["attention"]
    assert flops.training_total == flops.forward_total + flops.backward_total


def test_hyena_fft_term_in_closed_form():
    d, length = 128, 512
    flops = flops_per_base(ModelConfig(mixer="hyena", width=d, layers=1), length).forward
    fft = 2.5 * 1024 * math.log2(1024)  # 1,023 lags fit in 1,024 points
    assert flops["fft"] == pytest.approx(d * (2 * fft + 6 * 513) / length)
    assert flops["short_convolution"] == 2 * 3 * 3 * d + 2 * d
    assert flops["projection"] == 2 * 4 * d * d


def test_attention_grows_with_length_and_hyena_hardly_does():
    attention, hyena = ModelConfig(), ModelConfig(mixer="hyena", max_length=8192)
    growth = {
        config.mixer: flops_per_base(config, 8192).forward_total
        / flops_per_base(config, 512).forward_total
        for config in (attention, hyena)
    }
    assert growth["attention"] > 5
    assert growth["hyena"] < 1.05


@pytest.mark.parametrize("feedforward", ["mlp", "swiglu"])
@pytest.mark.parametrize("objective", ["masked", "next_token"])
def test_attention_model_against_the_flop_counter(feedforward, objective):
    """Forward and backward of a whole model, matrix products as torch counts them."""
    config = ModelConfig(
        width=16, heads=2, layers=2, feedforward=feedforward, objective=objective, position="rope"
    )
    model, tokens = build_model(config, seed=0), random_tokens(3, 12)
    in_place = {torch.ops.aten.addmm_: product_flops}  # which the counter does not know
    counting = FlopCounterMode(display=False, custom_mapping=in_place)
    with counting as counter, sdpa_kernel(SDPBackend.MATH):
        logits = model(tokens).logits
        forward = counter.get_total_flops()
        logits.sum().backward()
    flops = flops_per_base(config, 12)
    assert forward == flops.forward_total * tokens.numel()
    # Unfused attention keeps its scores: its backward is 2 forwards, where the fused one's is 2.5.
    expected = flops.backward_total - 0.5 * flops.forward["attention"]
    assert counter.get_total_flops() - forward == expected * tokens.numel()


def product_flops(total, left, right, *_, **__):
    """A matrix product that is added to a sum, from the shapes."""
    return 2 * left[0] * left[1] * right[1]


def toy_of(name: str) -> ModelConfig:
    """A row of the variant table at toy size, whatever its own."""
    changes = VARIANTS[name].changes
    layers = 2 * max(1, len(changes["mixer"]) if isinstance(changes.get("mixer"), tuple) else 1)
    size: dict = {"width": 16, "layers": layers, "heads": 2, "max_length": 64}
    if changes.get("feedforward_width"):
        size["feedforward_width"] = 24
    return variant_config(name, **size)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_against_the_flop_counter(name):
    """Products and full convolutions as torch counts them; the rest of Hyena in closed form."""
    config, rows, length = toy_of(name), 3, 12
    model, tokens = build_model(config, seed=0), torch.zeros(rows, length, dtype=torch.long)
    flops = flops_per_base(config, length)
    own = {"fft", "short_convolution", "scan"}  # the counter sees neither transforms nor scans
    expected = sum(value for kind, value in flops.forward.items() if kind not in own)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(tokens)
    forward = counted_products(counter, model)
    once = written_filters(config, length)
    # The backward filter of a two-sided Hyena need not be written at lag 0.
    assert forward == pytest.approx(expected * tokens.numel() + once, abs=once / length)
    sequences = 2 if config.strand == "equivariant" else 1
    hyenas = config.mixers.count("hyena") * sequences
    size = fast_fft_length(2 * length - 1)
    one = 2 * 2.5 * size * math.log2(size) + 6 * (size / 2 + 1)
    fft = hyenas * (config.hyena_order - 1) * config.width * one / length
    assert flops.forward.get("fft", 0.0) == pytest.approx(fft)
    channels, taps = (config.hyena_order + 1) * config.width, config.hyena_short_filter
    short = hyenas * (2 * channels * taps + config.hyena_order * config.width)
    if "mamba" not in config.mixers:
        assert flops.forward.get("short_convolution", 0.0) == pytest.approx(short)


def counted_products(counter: FlopCounterMode, model: torch.nn.Module) -> int:
    """Matrix products, and the convolutions of models that have no short ones beside them."""
    kinds = counter.get_flop_counts()["Global"]
    short = not {"hyena", "mamba"}.isdisjoint(model.config.mixers)
    return sum(count for kind, count in kinds.items() if not (short and "convolution" in str(kind)))


def written_filters(config: ModelConfig, length: int) -> int:
    """Products that write Hyena's filters, once for a batch: three layers and the last."""
    hidden, filters = config.hyena_filter_width, config.hyena_order - 1
    filters *= 1 if config.causal else 2
    one = 2 * length * (5 * hidden + 2 * hidden**2 + hidden * filters * config.width)
    return config.mixers.count("hyena") * one


def test_lengths_that_cannot_be():
    with pytest.raises(ConfigError, match="length: found 0"):
        flops_per_base(ModelConfig(), 0)
    for changes in (
        {"mixer": "hyena"},
        {"mixer": ["attention", "hyena"]},
        {"position": "learned"},
    ):
        with pytest.raises(ConfigError, match="2048 tokens is longer than the model"):
            flops_per_base(ModelConfig(**changes), 2048)
    assert flops_per_base(ModelConfig(), 2048).forward_total > 0


def test_building_on_the_meta_device_leaves_the_default_alone():
    parameter_counts(ModelConfig(width=8, layers=1, heads=1))
    assert torch.empty(1).device.type == "cpu"
