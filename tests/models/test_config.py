import dataclasses
import subprocess
import sys

import pytest

from lightning_dna.errors import ConfigError
from lightning_dna.models.config import ModelConfig


def test_defaults_are_valid_and_frozen():
    config = ModelConfig()
    assert (config.mixer, config.objective, config.width, config.layers) == (
        "attention",
        "masked",
        128,
        4,
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.width = 1


def test_position_defaults_by_mixer():
    assert ModelConfig(mixer="attention").position_scheme == "alibi"
    assert ModelConfig(mixer="hyena").position_scheme == "none"
    assert ModelConfig(mixer="attention", position="rope").position_scheme == "rope"
    assert ModelConfig(mixer="hyena", position="learned").position_scheme == "learned"


def test_the_default_position_follows_when_the_mixer_is_replaced():
    attention = ModelConfig(mixer="attention")
    assert dataclasses.replace(attention, mixer="hyena").position_scheme == "none"


def test_objective_decides_causality():
    assert not ModelConfig(objective="masked").causal
    assert ModelConfig(objective="next_token").causal


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mixer": "hyenna"}, "model.mixer: unknown mixer 'hyenna'.*Did you mean 'hyena'"),
        ({"objective": "mlm"}, "model.objective.*allowed: masked, next_token"),
        ({"position": "rotary"}, "model.position.*allowed: alibi, alibi_asymmetric, learned"),
        ({"feedforward": "swigl"}, "Did you mean 'swiglu'"),
        ({"norm": "batch"}, "model.norm.*layernorm, rmsnorm"),
        ({"feedforward_match": "flops"}, "model.feedforward_match.*parameters, width"),
        ({"gelu_approximation": "fast"}, "model.gelu_approximation"),
        ({"width": 0}, "model.width: found 0; it must be an integer of at least 1"),
        ({"layers": 2.0}, "model.layers: found 2.0"),
        ({"layers": True}, "model.layers: found True"),
        ({"heads": -1}, "model.heads"),
        ({"max_length": 0}, "model.max_length"),
        ({"vocab_size": 0}, "model.vocab_size"),
        ({"feedforward_width": 0}, "model.feedforward_width"),
        ({"attention_reach": -1}, "model.attention_reach.*at least 0"),
        ({"hyena_order": 1}, "model.hyena_order.*at least 2"),
        ({"dropout": 1.0}, "model.dropout.*below 1.0"),
        ({"dropout": -0.1}, "model.dropout"),
        ({"dropout": float("nan")}, "model.dropout"),
        ({"initial_std": "big"}, "model.initial_std: found 'big'"),
        ({"hyena_features": 4}, "model.hyena_features: 4 is even"),
        ({"hyena_features": 1}, "model.hyena_features: found 1; .* at least 3"),
        ({"hyena_filter_layers": 0}, "model.hyena_filter_layers"),
        ({"hyena_decay": "some"}, "model.hyena_decay.*each, none, spread"),
        ({"hyena_fast_decay": 0.0}, "model.hyena_fast_decay"),
        ({"hyena_decay": "none", "hyena_filter_shift": 0.1}, "no decay to put a floor under"),
        ({"hyena_filter_shift": -1.0}, "model.hyena_filter_shift"),
        ({"width": 12, "heads": 5}, "5 heads do not divide model.width 12; use one of 1, 2, 3, 4,"),
        ({"width": 12, "heads": 4, "position": "rope"}, "odd head width of 3.*even"),
        ({"mixer": "hyena", "position": "rope"}, "'rope' acts on attention.*learned, none"),
        ({"mixer": "hyena", "position": "alibi"}, "'alibi' acts on attention"),
        ({"mixer": "hyena", "attention_reach": 8}, "model.attention_reach: found 8.*remove it"),
        ({"mixer": "hyena", "hyena_short_filter": 4}, "even.*odd length, or.*next_token"),
        ({"mixer": ["hyena", "atention"]}, "model.mixer: unknown mixer 'atention'.*Did you mean"),
        ({"mixer": []}, "model.mixer: found an empty list"),
        ({"mixer": ["hyena", "attention", "dilated"]}, "3 mixers does not fill model.layers 4"),
        ({"mixer": {}}, "model.mixer: unknown mixer"),
        ({"mixer": ["hyena", "attention"], "width": 12, "heads": 5}, "5 heads do not divide"),
        (
            {"mixer": ["hyena", "attention"], "width": 12, "heads": 4, "position": "rope"},
            "odd head width of 3",
        ),
        ({"mixer": ["hyena", "dilated"], "position": "rope"}, "'hyena and dilated'.*learned"),
        ({"mixer": ["attention", "hyena"], "hyena_short_filter": 4}, "_short_filter: 4 is even"),
        ({"mixer": "dilated", "convolution_taps": 4}, "convolution_taps: 4 is even.*odd"),
        ({"mixer": "convolution", "attention_reach": 8}, "no attention to limit"),
        ({"convolution_taps": 0}, "model.convolution_taps"),
        ({"convolution_cycle": 0}, "model.convolution_cycle"),
        (
            {"position": "alibi_asymmetric", "objective": "next_token"},
            "nothing that follows is seen; use alibi",
        ),
        ({"rope_base": 0.5}, "model.rope_base.*at least 1"),
        ({"rope_factor": 0.5}, "model.rope_factor.*at least 1"),
        ({"position": "rope", "rope_scaling": "yarn"}, "model.rope_scaling.*linear, none, ntk"),
        ({"position": "rope", "rope_factor": 2.0}, "2.0 with model.rope_scaling 'none'"),
        (
            {"position": "rope", "rope_scaling": "ntk", "rope_factor": 2.0, "heads": 64},
            "head width of 2 has one pair",
        ),
        ({"norm_placement": "middle"}, "model.norm_placement.*branch, post, pre"),
        ({"convolution_first_taps": 9}, "first_taps: found 9, but layer 0 is 'attention'"),
        (
            {"mixer": ["hyena", "dilated"], "convolution_first_taps": 9},
            "layer 0 is 'hyena', which has no taps",
        ),
        ({"mixer": "dilated", "convolution_first_taps": 4}, "convolution_first_taps: 4 is even"),
        ({"mixer": "dilated", "convolution_first_taps": 0}, "first_taps: found 0.*at least 1"),
        ({"mixer": "dilated", "dilated_form": "gate"}, "dilated_form.*gated, plain, projected"),
        ({"mixer": "convolution", "dilated_form": "plain"}, "'plain', but.*model.mixer dilated"),
        ({"biases": 0, "mixer": "dilated"}, "model.biases: found 0; allowed: true, false"),
        ({"biases": False}, "model.biases: found false, but model.mixer is 'attention'"),
        (
            {"mixer": "dilated", "biases": False, "feedforward": "geglu", "gated_bias": "both"},
            "found 'both' with model.biases false",
        ),
        ({"embedding": "onehot"}, "model.embedding: unknown embedding.*Did you mean 'one_hot'"),
        ({"embedding": "one_hot"}, "no table for model.head 'tied'.*transform_untied"),
        (
            {"embedding": "one_hot", "width": 8, "head": "transform_untied"},
            "16 tokens, but model.width is 8; widen",
        ),
        ({"feedforward": "linear", "gated_bias": "both"}, "'linear', whose biases"),
        ({"feedforward": "linear", "feedforward_width": 8}, "'linear' has no inner width"),
        ({"feedforward": "none", "feedforward_width": 8}, "'none' has no inner width"),
        ({"feedforward": "none", "gated_bias": "output"}, "'none', whose biases"),
        ({"mixer": "mamba", "position": "rope"}, "'rope' acts on attention"),
    ],
)
def test_bad_settings_say_what_to_change(changes, said):
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        ModelConfig(**changes)


def test_what_one_mixer_forbids_the_other_allows():
    assert ModelConfig(mixer="hyena", width=12, heads=5).width == 12  # heads are not used
    assert ModelConfig(mixer="hyena", objective="next_token", hyena_short_filter=4)
    assert ModelConfig(width=12, heads=4, position="alibi").head_width == 3


def test_a_hybrid_is_a_pattern_repeated_over_the_layers():
    hybrid = ModelConfig(mixer=["hyena", "attention"], layers=6)
    assert hybrid.mixers == ("hyena", "attention") * 3
    assert hybrid.position_scheme == "alibi"
    assert ModelConfig(mixer=["hyena", "dilated"]).position_scheme == "none"
    assert ModelConfig(mixer="hyena", layers=3).mixers == ("hyena",) * 3
    assert hash(hybrid) == hash(ModelConfig(mixer=("hyena", "attention"), layers=6))


def test_two_spellings_of_one_model_are_one():
    assert ModelConfig(mixer=["hyena"]) == ModelConfig(mixer="hyena")
    assert ModelConfig(mixer=["hyena"] * 4) == ModelConfig(mixer="hyena")
    four = ["hyena", "attention", "hyena", "attention"]
    assert ModelConfig(mixer=four) == ModelConfig(mixer=four[:2])
    three = ["hyena", "hyena", "attention"]
    assert ModelConfig(mixer=three, layers=3).mixers == tuple(three)


@pytest.mark.parametrize(
    ("width", "mlp", "gated"),
    # MLP parameters 8 d^2 + 5 d over 3 d, to the nearest integer, by hand.
    [(128, 512, 343), (256, 1024, 684), (64, 256, 172), (2, 8, 7), (512, 2048, 1367)],
)
def test_gated_inner_width_matches_the_mlp(width, mlp, gated):
    assert ModelConfig(width=width, heads=1).inner_width == mlp
    for kind in ("geglu", "swiglu"):
        config = ModelConfig(width=width, heads=1, feedforward=kind)
        assert config.inner_width == gated
        assert abs(3 * width * gated - (8 * width**2 + 5 * width)) <= 1.5 * width


def test_matching_follows_an_explicit_width():
    matched = ModelConfig(width=12, heads=1, feedforward="swiglu", feedforward_width=36)
    assert matched.inner_width == round((2 * 12 * 36 + 36 + 12) / 36)  # 25
    equal = dataclasses.replace(matched, feedforward_match="width")
    assert equal.inner_width == 36


def test_length_limit_names_both_ways_out():
    config = ModelConfig(max_length=8)
    config.check_length(8, part="the table")
    with pytest.raises(ConfigError, match=r"9 tokens is longer than the table.*at least 9, or use"):
        config.check_length(9, part="the table")


def test_settings_and_variants_need_no_torch():
    code = (
        "import sys, lightning_dna.models.config, lightning_dna.models.variants; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    heavy = "import sys, lightning_dna.models.backbone; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 1
