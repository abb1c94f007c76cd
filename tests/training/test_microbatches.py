"""A batch in parts: the gradient of the whole, whatever the parts hold."""

import pytest
import torch

from lightning_dna.data.batches import IGNORE, Batch
from lightning_dna.models.config import ModelConfig
from lightning_dna.training.microbatches import loss_in_parts, parts_of
from lightning_dna.training.modules import MaskedLanguageModule


def batch(*, rows=5, length=12, weights=False, padded=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(7, 11, (rows, length), generator=generator)
    targets = ids.masked_fill(torch.rand(rows, length, generator=generator) > 0.3, IGNORE)
    targets[0] = IGNORE  # a row without targets
    real = None
    if padded:
        real = torch.ones(rows, length, dtype=torch.bool)
        real[1, 7:] = False
        targets[1, 7:] = IGNORE
    return Batch(
        input_ids=ids,
        targets=targets,
        attention_mask=real,
        weights=torch.rand(rows, length, generator=generator) if weights else None,
        tokens=rows * length if real is None else int(real.sum()),
    )


def module():
    config = ModelConfig(mixer="attention", position="alibi", width=16, layers=2, heads=2)
    made = MaskedLanguageModule(config, seed=1).double()
    made.step_log.add = lambda *_: None
    return made


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_parts_have_the_gradient_of_the_whole(weights, padded, count):
    one = batch(weights=weights, padded=padded)
    if weights:
        one = Batch(**{**vars(one), "weights": one.weights.double()})
    whole, parts = module(), module()
    parts.microbatches = count
    whole.training_step(one, 0).backward()
    parts.training_step(one, 0).backward()
    for (name, expected), (_, found) in zip(
        whole.named_parameters(), parts.named_parameters(), strict=True
    ):
        if expected.grad is not None:
            torch.testing.assert_close(found.grad, expected.grad, rtol=1e-5, atol=1e-9, msg=name)


def test_parts_report_the_loss_and_accuracy_of_the_whole():
    one, made = batch(), module()
    _, plain, accuracy = made.loss(one)
    _, in_parts, hits = loss_in_parts(made.loss, one, 3)
    torch.testing.assert_close(in_parts, plain, rtol=1e-6, atol=0, check_dtype=False)
    torch.testing.assert_close(hits, accuracy, rtol=1e-6, atol=0, check_dtype=False)


def test_gradients_of_an_earlier_step_do_not_stay():
    one, made = batch(), module()
    made.microbatches = 2
    made.training_step(one, 0).backward()
    first = [p.grad.clone() for p in made.parameters()]
    made.optimizer_zero_grad(0, 0, torch.optim.SGD(made.parameters(), lr=0.1))
    made.training_step(one, 0).backward()
    for before, after in zip(first, (p.grad for p in made.parameters()), strict=True):
        torch.testing.assert_close(after, before)


def test_parts_hold_every_row_once_and_count_real_tokens():
    one = batch(padded=True)
    parts = list(parts_of(one, 2))
    assert [len(part.input_ids) for part in parts] == [2, 3]
    assert [part.tokens for part in parts] == [12 + 7, 36]
    assert torch.equal(torch.cat([part.targets for part in parts]), one.targets)
    assert len(list(parts_of(one, 9))) == 5
