"""The plan: what it prints is what would be built and run."""

import pytest

from lightning_dna.models.language_model import build_model
from lightning_dna.study.machine import where_it_runs
from lightning_dna.study.plan import plan_frame, plan_table
from lightning_dna.training.config import TrainerConfig


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
    # Weights, gradients and two moments of AdamW are 16 bytes a parameter; the peak has them all,
    # but for gradients that give way to activations.
    assert (frame["memory_mib"] > 12 * frame["parameters"] / 2**20 + frame["activation_mib"]).all()
    assert (frame["bases_per_second"] > 0).all()
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


def test_operations_of_a_training_by_hand(make_study):
    """One layer of d = 16: 24 d^2 in matrices, 4 L d in attention, 2 x 16 d in the head."""
    study = make_study(
        arms={
            "hyena": {
                "model": {"mixer": "attention"},
                "length_schedule": {"kind": "doubling", "start": 16, "fraction": 0.5},
            }
        }
    )
    frame = plan_frame(study).set_index("arm")
    matrices, head = 2 * 12 * 16**2, 2 * 16 * 16

    def training(length: int) -> float:
        return 3 * (matrices + head) + 3.5 * 4 * length * 16

    assert frame.loc["attention", "flops_per_base"] == matrices + head + 4 * 64 * 16
    assert frame.loc["attention", "attention_flops_per_base"] == 4 * 64 * 16
    assert frame.loc["attention", "training_flops_per_base"] == training(64)
    assert frame.loc["attention", "total_flops"] == 2 * 5120 * training(64)
    # Of 20 steps of 256 tokens, five have rows of 16, five of 32 and the rest of 64.
    warmed = 256 * (5 * training(16) + 5 * training(32) + 10 * training(64))
    assert frame.loc["hyena", "total_flops"] == 2 * warmed


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        ({}, ("cpu", "32")),
        ({"precision": "bf16"}, ("cpu", "bf16")),
        ({"accelerator": "cpu", "precision": "32"}, ("cpu", "32")),
    ],
)
def test_where_a_training_runs_without_a_gpu(trainer, expected, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert where_it_runs(TrainerConfig(**trainer)) == expected


def test_where_a_training_runs_with_a_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    assert where_it_runs(TrainerConfig()) == ("cuda", "bf16")
    assert where_it_runs(TrainerConfig(precision="32")) == ("cuda", "32")
    assert where_it_runs(TrainerConfig(accelerator="cpu")) == ("cpu", "32")


def test_half_precision_keeps_less(make_study):
    whole, half = (
        plan_frame(make_study(shared={"trainer": {"precision": precision}}))
        for precision in ("32", "bf16")
    )
    assert (half["activation_mib"] < 0.8 * whole["activation_mib"]).all()


@pytest.mark.parametrize("objective", ["masked", "next_token"])
def test_a_plan_can_be_made_for_every_objective(make_study, objective):
    frame = plan_frame(make_study(shared={"model": {"objective": objective}}))
    assert (frame["flops_per_base"] > 0).all()
