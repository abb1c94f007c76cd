"""The training loop: schedules, when it validates, what it keeps, other objectives."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.loop import CLASSES, Objective, Part, predicted, train


@dataclass
class Numbers:
    """Inputs of one feature each, all of length 1."""

    values: np.ndarray

    @property
    def lengths(self):
        return np.ones(len(self.values), np.int64)

    def batch(self, indices, device):
        x = torch.from_numpy(self.values[indices].astype(np.float32)).to(device)
        return x, torch.ones(len(indices), 1, dtype=torch.bool)


class Line(torch.nn.Module):
    """Logits of 0 and of a straight line, with a buffer that counts its training batches."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(1))
        self.fixed = torch.nn.Parameter(torch.ones(3, 3), requires_grad=False)
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, x, mask):
        if self.training:
            self.batches += 1
        return torch.stack((torch.zeros_like(x), self.slope * x), dim=-1)


def part(n: int, *, seed: int = 0, turned: bool = False) -> Part:
    x = np.random.default_rng(seed).normal(size=n)
    return Part(Numbers(x), ((x < 0) if turned else (x > 0)).astype(np.int64))


def rates(monkeypatch, n: int = 40, **changes) -> list[float]:
    seen = []
    original = torch.optim.AdamW.step

    def spy(optimizer, *arguments, **options):
        seen.append(optimizer.param_groups[0]["lr"])
        return original(optimizer, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    settings = {"epochs": 5, "lr": 1.0, "batch_size": 10, "patience": 5} | changes
    train(Line(), part(n), part(20, seed=1), FineTuneConfig(**settings), seed=0)
    return seen


class TestSchedule:
    """Twenty steps: 40 examples, batches of 10, 5 epochs."""

    def test_constant_after_a_warmup_in_steps(self, monkeypatch):
        got = rates(monkeypatch, scheduler="constant", warmup_steps=4)
        np.testing.assert_allclose(got, [0.25, 0.5, 0.75] + [1.0] * 17)

    def test_a_straight_line_ends_where_it_is_told_to(self, monkeypatch):
        got = rates(monkeypatch, scheduler="linear", warmup_steps=0, final_lr_fraction=0.5)
        # No warm-up is one step at the peak; then 19 equal steps, the end being one further on.
        np.testing.assert_allclose(got, 1.0 - 0.5 * np.arange(20) / 20)

    def test_cosine_down_to_a_tenth(self, monkeypatch):
        got = rates(monkeypatch, warmup_fraction=0.0, final_lr_fraction=0.1)
        expected = 0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * np.arange(20) / 20))
        np.testing.assert_allclose(got, expected)

    def test_max_steps_ends_training_and_its_schedule(self, monkeypatch):
        got = rates(monkeypatch, scheduler="linear", warmup_steps=0, max_steps=6)
        np.testing.assert_allclose(got, 1.0 - np.arange(6) / 6)

    def test_more_steps_than_the_epochs_take_change_nothing(self, monkeypatch):
        assert len(rates(monkeypatch, max_steps=100)) == 20


class TestSelection:
    def settings(self, **changes) -> FineTuneConfig:
        fixed = {"epochs": 6, "lr": 0.1, "batch_size": 10, "patience": 6, "warmup_steps": 0}
        return FineTuneConfig(**(fixed | changes))

    def validations(self, monkeypatch, **changes) -> list[int]:
        """Return the steps after which the validation part was read."""
        seen, network = [], Line()
        valid = part(20, seed=1)
        original = valid.inputs.batch

        def spy(indices, device):
            seen.append(int(network.batches))
            return original(indices, device)

        monkeypatch.setattr(valid.inputs, "batch", spy)
        train(network, part(40), valid, self.settings(**changes), seed=0)
        return seen

    def test_after_each_epoch(self, monkeypatch):
        assert self.validations(monkeypatch, epochs=3) == [4, 8, 12]

    def test_after_every_so_many_steps_and_at_the_end(self, monkeypatch):
        got = self.validations(monkeypatch, epochs=3, validate_every_steps=5)
        assert got == [5, 10, 12]

    def test_at_the_end_even_if_there_was_no_other_time(self, monkeypatch):
        assert self.validations(monkeypatch, epochs=2, patience=1, validate_every_steps=99) == [8]

    def test_at_the_end_of_max_steps(self, monkeypatch):
        assert self.validations(monkeypatch, epochs=3, max_steps=6) == [4, 6]

    def test_the_best_weights_and_buffers_come_back_and_the_fixed_stay(self):
        network = Line()
        turned = part(20, seed=1, turned=True)  # every step away from zero makes it worse
        trained = train(network, part(40), turned, self.settings(metric="loss"), seed=0)
        assert trained.best_epoch == 1
        assert trained.best_step == 4
        assert int(network.batches) == 4
        assert torch.equal(network.fixed, torch.ones(3, 3))
        assert trained.parameters_updated == 1
        assert trained.epochs_run == 6

    def test_loss_is_minus_the_mean_cross_entropy(self):
        network, valid = Line(), part(20, seed=1)
        trained = train(network, part(40), valid, self.settings(metric="loss"), seed=0)
        x, slope = valid.inputs.values, float(network.slope.detach())
        expected = np.logaddexp(0, np.where(valid.labels == 1, -1, 1) * slope * x).mean()
        assert trained.valid_metric == pytest.approx(-expected, rel=1e-6)

    def test_patience_waits_for_a_first_validation(self):
        settings = self.settings(patience=1, validate_every_steps=23, epochs=6)
        trained = train(Line(), part(40), part(20, seed=1), settings, seed=0)
        assert trained.epochs_run == 6
        assert trained.best_step == 23


def test_another_objective_is_trained_and_predicted():
    """Least squares of a line: the slope that the normal equation gives."""
    x = np.linspace(-1, 1, 40)
    line = Part(Numbers(x), (3.0 * x).astype(np.float32))
    squares = Objective(
        loss=lambda out, labels: functional.mse_loss(out[:, 1], labels),
        outputs=lambda out: out[:, 1],
        value=lambda name, labels, outputs: -float(((labels - outputs) ** 2).mean()),
    )
    network = Line()
    settings = FineTuneConfig(epochs=60, lr=0.2, batch_size=40, patience=60, weight_decay=0.0)
    trained = train(network, line, line, settings, seed=0, objective=squares)
    assert float(network.slope.detach()) == pytest.approx(3.0, abs=0.05)
    np.testing.assert_allclose(
        predicted(network, line.inputs, objective=squares), 3.0 * x, atol=0.06
    )
    assert trained.valid_metric > -0.01


def test_bad_input_is_refused():
    empty = Part(Numbers(np.zeros(0)), np.zeros(0, np.int64))
    with pytest.raises(DataError, match="validation part holds no example"):
        train(Line(), part(20), empty, FineTuneConfig(), seed=0)
    with pytest.raises(DataError, match="no sequence to predict"):
        predicted(Line(), empty.inputs, objective=CLASSES)
    wild = replace(CLASSES, loss=lambda logits, labels: logits.sum() * float("nan"))
    settings = FineTuneConfig(warmup_steps=3)
    with pytest.raises(ConfigError, match=r"diverged: the loss.*raise finetune\.warmup_steps \(3"):
        train(Line(), part(20), part(20), settings, seed=0, objective=wild)
