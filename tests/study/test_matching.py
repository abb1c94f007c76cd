"""Arms of equal size: sizes worked out by hand, what is printed, and what is refused."""

from types import SimpleNamespace

import pytest

from lightning_dna import settings
from lightning_dna.errors import ConfigError
from lightning_dna.models.cost import flops_per_base, parameter_counts
from lightning_dna.study.matching import MatchConfig, match_arms
from lightning_dna.study.plan import plan_table
from lightning_dna.study.recipe import parse_recipe, resolve_arms
from lightning_dna.study.study import open_study, record_study

# Published trunks of 2 layers and 128 channels: with an MLP of 512, and what one more unit of its
# inner width adds, 2 x 128 weights and a bias in each of 2 layers.
HYENA, ATTENTION, UNIT = 433_792, 396_544, 2 * (2 * 128 + 1)


@pytest.fixture
def sized(content):
    """The toy recipe at 2 layers of 128 channels, next token: the published convention."""
    content["shared"]["model"].update(width=128, layers=2, heads=4, objective="next_token")
    return content


def resolve(content, **changes):
    merged = settings.merge(content, changes)
    return resolve_arms(parse_recipe(merged, where="x.yaml"), where="x.yaml")


def trunk(arm) -> int:
    return parameter_counts(arm.settings.model).trunk


def training_flops(arm) -> float:
    return flops_per_base(arm.settings.model, arm.settings.data.length).training_total


def test_trunks_are_those_of_the_literature(sized):
    arms = resolve(sized)
    assert {name: trunk(arm) for name, arm in arms.items()} == {
        "attention": ATTENTION,
        "hyena": HYENA,
    }


def test_parameters_by_the_width_of_the_feedforward(sized):
    arms = resolve(sized, match="parameters")
    width = round(512 - (HYENA - ATTENTION) / UNIT)
    assert width == 440
    hyena = arms["hyena"]
    assert hyena.settings.model.feedforward_width == width
    assert trunk(hyena) == HYENA - (512 - width) * UNIT
    assert abs(trunk(hyena) - ATTENTION) <= UNIT / 2
    assert hyena.changes == {"model.mixer": "hyena", "model.feedforward_width": width}
    assert hyena.matched == (
        "feedforward_width 512 -> 440 to match parameters: 1.001x of attention"
    )
    assert arms["attention"].matched == ""
    assert arms["attention"].settings.model.feedforward_width is None


def test_the_reference_may_be_another_arm_than_the_baseline(sized):
    arms = resolve(sized, match={"by": "parameters", "to": "hyena"})
    width = round(512 + (HYENA - ATTENTION) / UNIT)
    assert arms["attention"].settings.model.feedforward_width == width == 584
    assert arms["attention"].matched.endswith("0.999x of hyena")
    assert arms["hyena"].matched == ""


def test_flops_by_the_width_of_the_feedforward(sized):
    """Attention over 64 tokens costs 4 x 64 x 128 a layer and its backward 2.5 times as much."""
    plain, arms = resolve(sized), resolve(sized, match="flops")
    hyena, attention = plain["hyena"], plain["attention"]
    gap = training_flops(attention) - training_flops(hyena)
    unit = 2 * 3 * (2 * 2 * 128)  # two layers, forward and backward, two matrices
    width = round(512 + gap / unit)
    assert arms["hyena"].settings.model.feedforward_width == width
    assert training_flops(arms["hyena"]) == pytest.approx(training_flops(attention), rel=1e-3)
    by_hand = 2 * 3 * (2 * 4 * 128**2 + 2 * 8 * 128**2) + 2 * 3.5 * 4 * 64 * 128 + 3 * 2 * 16 * 128
    assert training_flops(attention) == by_hand


def test_width_moves_in_steps_that_the_heads_divide(sized):
    arms = resolve(
        sized,
        shared={"model": {"heads": 8, "position": "rope", "width": 256}},
        arms={
            "hyena": {"model": {"position": None}},
            "narrow": {"model": {"feedforward_width": 512}},
        },
        match={"by": "parameters", "change": "width", "tolerance": 0.1},
    )
    narrow = arms["narrow"].settings.model
    assert narrow.width % 16 == 0  # eight heads, each of pairs of channels
    assert narrow.width > 256
    assert narrow.feedforward_width == 512
    assert arms["narrow"].matched.startswith(f"width 256 -> {narrow.width} to match parameters")
    # 4 d^2 + 4 d + 2 x 512 d + 512 + d + 4 d of one layer, against those of 256 with 1,024.
    sizes = {
        d: 2 * (4 * d * d + 4 * d + 2 * 512 * d + 512 + d + 4 * d) for d in range(16, 1024, 16)
    }
    target = 2 * (4 * 256**2 + 4 * 256 + 2 * 1024 * 256 + 1024 + 256 + 4 * 256)
    assert narrow.width == min(sizes, key=lambda d: abs(sizes[d] - target))


def test_layers_move_in_whole_patterns(sized):
    arms = resolve(
        sized,
        shared={"model": {"layers": 4}},
        arms={"hyena": {"model": {"mixer": ["hyena", "attention"], "feedforward_width": 128}}},
        match={"by": "parameters", "change": "layers", "tolerance": 0.2},
    )
    layers = arms["hyena"].settings.model.layers
    assert layers % 2 == 0
    assert layers > 4
    assert arms["hyena"].matched.startswith(f"layers 4 -> {layers}")


def test_gated_feedforwards_are_matched_by_what_they_have(sized):
    arms = resolve(
        sized,
        arms={
            "wide": {"model": {"feedforward": "swiglu", "feedforward_match": "width"}},
            "gated": {"model": {"feedforward": "swiglu"}},
        },
        match="parameters",
    )
    # 3 x 128 weights a unit and no bias, where the MLP has 2 x 128 + 1 and 128 more at the end.
    assert arms["wide"].settings.model.inner_width == round((512 * 257 + 128) / 384)
    assert arms["gated"].matched == ""  # their own matching is as near as can be
    assert arms["gated"].settings.model.feedforward_width is None


def test_an_arm_that_declares_the_size_keeps_it_where_it_is_near_enough(sized):
    near = {"model": {"feedforward_width": 445}}
    arms = resolve(sized, arms={"hyena": near}, match="parameters")
    assert arms["hyena"].settings.model.feedforward_width == 445
    assert arms["hyena"].matched == ""
    with pytest.raises(ConfigError) as caught:
        resolve(sized, arms={"hyena": {"model": {"feedforward_width": 512}}}, match="parameters")
    for words in ("arm 'hyena' declares model.feedforward_width 512", "1.094x", "2.0%"):
        assert words in str(caught.value)


def test_none_and_nothing_change_nothing(content):
    plain = resolve(content)
    assert resolve(content, match="none") == resolve(content, match=None) == plain
    assert all(arm.matched == "" for arm in plain.values())


@pytest.mark.parametrize(
    ("match", "words"),
    [
        ("size", ["match.by", "flops, none, parameters"]),
        ({"by": "flops", "too": "hyena"}, ["match: unknown key 'too'", "Did you mean 'to'?"]),
        ({"by": "flops", "to": "hyenna"}, ["match.to", "'hyenna'", "Did you mean 'hyena'?"]),
        ({"by": "flops", "change": "depth"}, ["match.change", "feedforward_width, layers, width"]),
        ({"change": "width"}, ["match.by is none", "set match.by to parameters or flops"]),
        ({"by": "flops", "tolerance": 0}, ["match.tolerance is 0"]),
        (
            {"by": "parameters", "change": "layers"},
            ["arm 'hyena' comes no nearer by model.layers than 2", "1.094x the trunk parameters"],
        ),
    ],
)
def test_what_cannot_be_is_named(sized, match, words):
    with pytest.raises(ConfigError) as caught:
        resolve(sized, match=match)
    for word in words:
        assert word in str(caught.value)


def test_limits_are_named(sized):
    long = {"data": {"length": 16_384}, "model": {"max_length": 16_384}}
    budget = {"tokens": 32_768, "tokens_per_step": 16_384}
    with pytest.raises(ConfigError) as caught:
        resolve(sized, shared={**long, "budget": budget}, match="flops")
    for words in ("tried from 128 to 2048, than 2048", "Set match.change to width or layers"):
        assert words in str(caught.value)


@pytest.mark.parametrize("kind", ["linear", "none"])
def test_such_a_feedforward_has_no_width_to_change(kind, sized):
    with pytest.raises(ConfigError, match=r"arm 'one' comes no nearer by model.feedforward_width"):
        resolve(sized, arms={"one": {"model": {"feedforward": kind}}}, match="parameters")


def test_a_checkpoint_cannot_be_matched(sized):
    arms = resolve(sized)
    arms["hyena"] = SimpleNamespace(**vars(arms["hyena"]) | {"source": object()})
    with pytest.raises(ConfigError, match=r"arm 'hyena' is a checkpoint.*cannot be matched"):
        match_arms(arms, MatchConfig(by="flops"), "attention", where="x.yaml")
    whole = match_arms(arms, MatchConfig(by="flops", to="hyena"), "attention", where="x.yaml")
    assert whole["attention"].matched


def test_the_plan_and_the_record_say_what_was_done(sized, make_study, tmp_path):
    study = make_study(match="flops")
    text = plan_table(study)
    hyena = study.arms["hyena"]
    assert "matched in flops to attention by feedforward_width, within 2.0%:" in text
    assert f"hyena      {hyena.matched}" in text
    assert "attention  as it is" in text
    width = hyena.settings.model.feedforward_width
    assert f"model.mixer=hyena, model.feedforward_width={width}" in text
    record_study(study, tmp_path / "out")
    again = open_study(tmp_path / "out")
    assert again.arms == study.arms
    assert [cell.run_id for cell in again.cells()] == [cell.run_id for cell in study.cells()]
