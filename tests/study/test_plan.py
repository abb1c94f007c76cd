"""The plan: what it prints is what would be built and run."""

import pytest

from lightning_dna.models.language_model import build_model
from lightning_dna.study.plan import plan_frame, plan_table


def test_the_plan_is_of_the_models_that_would_be_built(make_study):
    study = make_study(arms={"gated": {"model": {"feedforward": "swiglu"}}})
    frame = plan_frame(study).set_index("arm")
    assert list(frame.index) == ["attention", "hyena", "gated"]
    for name, arm in study.arms.items():
        model = build_model(arm.settings.model, seed=0)
        built = sum(parameter.numel() for parameter in model.parameters())
        assert frame.loc[name, "parameters"] == built
    assert frame.loc["hyena", "changes"] == "model.mixer=hyena"
    assert frame.loc["attention", "changes"] == "-"
    assert (frame["tokens"] == 5120).all()
    assert (frame["seeds"] == 2).all()
    assert (frame["hours"] > 0).all()
    # Weights, gradients and two moments of AdamW are 16 bytes a parameter; activations come on top.
    assert (frame["memory_mib"] > 16 * frame["parameters"] / 2**20).all()
    # A gated feed-forward of 3 d h against 2 d m + m + d: within 1.5 d of one another.
    assert abs(frame.loc["gated", "parameters"] - frame.loc["attention", "parameters"]) <= 24
    assert frame.loc["attention", "feedforward_width"] == 64
    assert frame.loc["gated", "feedforward_width"] == round((2 * 16 * 64 + 64 + 16) / 48)


def test_the_table_says_what_runs_on_what(make_study):
    text = plan_table(make_study())
    for words in (
        "study       toy: Does the mixer matter?",
        "baseline    attention",
        "train chr1 | valid chr2 | test chr3",
        "bases",
        "4 (2 arms x 2 seeds)",
        "5,120",
        "training in all:",
    ):
        assert words in text


@pytest.mark.parametrize("objective", ["masked", "next_token"])
def test_a_plan_can_be_made_for_every_objective(make_study, objective):
    frame = plan_frame(make_study(shared={"model": {"objective": objective}}))
    assert (frame["flops_per_base"] > 0).all()
