"""Loss and accuracy over targets only, GPN's weighting, and the named modules."""

import math

import pytest
import torch

import lightning_dna
from lightning_dna.data.batches import IGNORE, Batch
from lightning_dna.errors import ConfigError
from lightning_dna.models.config import ModelConfig
from lightning_dna.training.modules import (
    AttentionALiBiMaskedLM,
    HyenaMaskedLM,
    HyenaNextToken,
    MaskedLanguageModule,
)
from lightning_dna.training.profiler import NoProfiler

SMALL = ModelConfig(width=8, layers=1, heads=2, max_length=16)


def a_batch(weights: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(7, 11, (3, 10), generator=generator)
    targets = torch.full((3, 10), IGNORE)
    targets[0, 2], targets[1, 5], targets[1, 6], targets[2, 9] = 7, 8, 9, 10
    weight = torch.ones(3, 10)
    weight[1] = 0.1
    return Batch(input_ids, targets, None, weight if weights else None, tokens=30)


def by_hand(module: MaskedLanguageModule, batch: Batch) -> list[tuple[float, float, bool]]:
    """Return (nats, weight, correct) of every target, one by one in float64."""
    with torch.no_grad():
        logits = module.model(batch.input_ids, None).logits.double()
    rows = []
    for row, column in (batch.targets != IGNORE).nonzero().tolist():
        scores, target = logits[row, column], int(batch.targets[row, column])
        nats = math.log(sum(math.exp(s) for s in scores.tolist())) - scores[target].item()
        weight = 1.0 if batch.weights is None else batch.weights[row, column].item()
        rows.append((nats, weight, int(scores.argmax()) == target))
    return rows


@pytest.mark.parametrize("weights", [False, True])
def test_loss_and_accuracy_are_over_the_targets(weights):
    module, batch = MaskedLanguageModule(SMALL), a_batch(weights)
    weighted, plain, accuracy = module.loss(batch)
    rows = by_hand(module, batch)
    assert len(rows) == 4
    assert weighted.item() == pytest.approx(
        sum(nats * weight for nats, weight, _ in rows) / sum(weight for _, weight, _ in rows),
        rel=1e-5,
    )
    assert plain.item() == pytest.approx(sum(nats for nats, _, _ in rows) / 4, rel=1e-5)
    assert accuracy.item() == pytest.approx(sum(right for *_, right in rows) / 4)


def test_a_batch_without_targets_has_loss_zero_and_finite_gradients():
    module, batch = MaskedLanguageModule(SMALL), a_batch()
    empty = Batch(batch.input_ids, torch.full_like(batch.targets, IGNORE), None, None, 30)
    loss, _, accuracy = module.loss(empty)
    loss.backward()
    assert (loss.item(), accuracy.item()) == (0.0, 0.0)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in module.parameters())


def test_validation_weights_batches_by_their_targets():
    module, batch = MaskedLanguageModule(SMALL), a_batch()
    one = Batch(batch.input_ids[2:], batch.targets[2:], None, None, 10)
    three = Batch(batch.input_ids[:2], batch.targets[:2], None, None, 20)
    for part in (one, three):
        module.validation_step(part)
    assert float(module.valid_loss.compute()) == pytest.approx(
        module.loss(batch)[1].item(), rel=1e-5
    )


def test_named_modules_are_what_their_names_say():
    assert HyenaMaskedLM(SMALL).config.mixer == "hyena"
    assert AttentionALiBiMaskedLM(SMALL).config.position == "alibi"
    assert HyenaNextToken(SMALL).config.objective == "next_token"
    assert HyenaMaskedLM().config == ModelConfig(mixer="hyena")
    assert lightning_dna.HyenaMaskedLM is HyenaMaskedLM


def test_a_config_made_for_another_class_is_refused():
    with pytest.raises(ConfigError, match=r"AttentionALiBiMaskedLM.*alibi.*rope"):
        AttentionALiBiMaskedLM(ModelConfig(position="rope"))


def test_arms_of_one_seed_share_the_weights_they_share():
    first = AttentionALiBiMaskedLM(SMALL, seed=3).model.state_dict()
    second = HyenaMaskedLM(SMALL, seed=3).model.state_dict()
    shared = [n for n in first.keys() & second.keys() if first[n].shape == second[n].shape]
    assert "backbone.embedding.weight" in shared or len(shared) >= 3
    assert all(torch.equal(first[name], second[name]) for name in shared)


def test_attributes_are_set_as_in_any_module():
    """Also the one that Lightning sets so often that it has a way of its own."""
    module = MaskedLanguageModule(SMALL)
    module._current_fx_name = "training_step"
    assert module._current_fx_name == "training_step"
    module.extra = torch.nn.Linear(2, 2)
    assert "extra.weight" in module.state_dict()
    with NoProfiler().profile("a step"), NoProfiler().profile("within it"):
        pass
