"""Fine-tuning: what it learns, what it leaves alone, what decides its result."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lightning_dna.data.examples import Examples, batches_by_length, shuffled_batches
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import (
    SequenceClassifier,
    embed,
    finetune,
    padded_batch,
    selection_metric,
    train_classifier,
)

CPU = torch.device("cpu")
MODEL = ModelConfig(width=16, layers=1, heads=2, max_length=64)
HYENA = replace(MODEL, mixer="hyena", hyena_filter_width=8)
SETTINGS = FineTuneConfig(epochs=4, lr=5e-3, batch_size=16, patience=4)


def toy_examples(n: int, *, seed: int, length: int = 24, prefix: str = "x") -> Examples:
    """Class 1 is rich in G and C, class 0 in A and T: three of four bases."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    strong = rng.random((n, length)) < np.where(labels, 0.75, 0.25)[:, None]
    codes = np.where(strong, rng.integers(1, 3, (n, length)), rng.integers(0, 2, (n, length)) * 3)
    lengths = rng.integers(length // 2, length + 1, n)
    return Examples(
        codes=[row[:end].astype(np.uint8) for row, end in zip(codes, lengths, strict=True)],
        labels=labels,
        ids=tuple(f"{prefix}{index}" for index in range(n)),
    )


TRAIN = toy_examples(120, seed=1)
VALID = toy_examples(60, seed=2)
TEST = toy_examples(60, seed=3)


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


class TestFinetune:
    @pytest.mark.parametrize("config", [MODEL, HYENA], ids=["attention", "hyena"])
    def test_learns_a_task_that_can_be_learned(self, config):
        tuned = finetune(build_model(config, seed=0), TRAIN, VALID, SETTINGS, n_classes=2, seed=0)
        predicted = tuned.predict(TEST).argmax(axis=1)
        assert (predicted == TEST.labels).mean() > 0.9
        assert tuned.valid_metric > 0.8
        assert 1 <= tuned.best_epoch <= tuned.epochs_run <= 4
        assert tuned.seconds > 0

    def test_probabilities_are_float64_and_sum_to_one(self):
        tuned = finetune(build_model(MODEL, seed=0), TRAIN, VALID, SETTINGS, n_classes=3, seed=0)
        probabilities = tuned.predict(TEST)
        assert probabilities.shape == (60, 3)
        assert probabilities.dtype == np.float64
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)

    def test_every_weight_of_trunk_and_head_is_counted_and_moves(self):
        model = build_model(MODEL, seed=0)
        tuned = finetune(model, TRAIN, VALID, SETTINGS, n_classes=2, seed=0)
        expected = sum(part.numel() for part in model.parameters()) + 2 * 16 + 2
        assert tuned.parameters_updated == expected
        before = SequenceClassifier(model, n_classes=2, seed=0).state_dict()
        unmoved = [
            name
            for name, now in tuned.classifier.state_dict().items()
            if (now == before[name]).all()
        ]
        assert unmoved == []

    def test_leaves_the_callers_model_and_the_global_generator_alone(self):
        model = build_model(MODEL, seed=0).eval()
        model.requires_grad_(False)
        before = weights(model)
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        finetune(model, TRAIN, VALID, SETTINGS, n_classes=2, seed=0)
        assert torch.equal(torch.rand(3), expected)
        assert not model.training
        assert all(torch.equal(now, before[name]) for name, now in model.state_dict().items())
        assert all(part.grad is None and not part.requires_grad for part in model.parameters())

    def test_the_seed_decides_everything_dropout_included(self):
        model = build_model(replace(MODEL, dropout=0.2), seed=0)
        short = replace(SETTINGS, epochs=2)

        def result(seed: int) -> np.ndarray:
            torch.manual_seed(np.random.default_rng().integers(2**31))  # must not matter
            tuned = finetune(model, TRAIN, VALID, short, n_classes=2, seed=seed)
            return tuned.predict(TEST)

        first = result(0)
        np.testing.assert_array_equal(result(0), first)
        assert np.abs(result(1) - first).max() > 1e-4

    def test_the_best_epoch_is_kept_and_patience_ends_training(self):
        model = build_model(MODEL, seed=0)
        # Validation labels that contradict training: the metric can only fall.
        turned = replace(VALID, labels=1 - VALID.labels)
        config = replace(SETTINGS, epochs=10, patience=2, metric="accuracy")
        tuned = finetune(model, TRAIN, turned, config, n_classes=2, seed=0)
        assert tuned.epochs_run == tuned.best_epoch + 2 < 10
        predicted = tuned.predict(turned).argmax(axis=1)
        assert tuned.valid_metric == (predicted == turned.labels).mean()

    def test_a_pretrained_start_differs_from_another(self):
        one = [
            finetune(
                build_model(MODEL, seed=seed),
                TRAIN,
                VALID,
                replace(SETTINGS, epochs=1),
                n_classes=2,
                seed=0,
            ).predict(TEST)
            for seed in (0, 1)
        ]
        assert np.abs(one[0] - one[1]).max() > 1e-4

    def test_a_sequence_beyond_the_model_says_what_to_change(self):
        long = toy_examples(8, seed=0, length=200)
        for train, valid, part in ((long, VALID, "training"), (TRAIN, long, "validation")):
            with pytest.raises(
                DataError, match=rf"{part} part.*model\.max_length 64; raise"
            ) as error:
                finetune(build_model(MODEL, seed=0), train, valid, SETTINGS, n_classes=2, seed=0)
            assert str(max(long.lengths)) in str(error.value)

    def test_an_empty_part_is_refused(self):
        none = Examples(codes=[], labels=np.zeros(0, np.int64), ids=())
        with pytest.raises(DataError, match="validation part"):
            finetune(build_model(MODEL, seed=0), TRAIN, none, SETTINGS, n_classes=2, seed=0)

    def test_divergence_is_an_error_that_names_the_settings(self):
        wild = replace(SETTINGS, lr=1e30, gradient_clip=0.0)
        with pytest.raises(ConfigError, match=r"diverged.*finetune\.lr \(it is 1e\+30\)"):
            finetune(build_model(MODEL, seed=0), TRAIN, VALID, wild, n_classes=2, seed=0)

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_learns_on_a_gpu(self):
        model = build_model(MODEL, seed=0)
        tuned = finetune(model, TRAIN, VALID, SETTINGS, n_classes=2, seed=0, device="cuda")
        assert (tuned.predict(TEST).argmax(axis=1) == TEST.labels).mean() > 0.9
        assert next(model.parameters()).device.type == "cpu"
        np.testing.assert_allclose(
            embed(model, TEST.codes, device="cuda"), embed(model, TEST.codes), atol=1e-2
        )


class OneLayer(torch.nn.Module):
    """A classifier small enough to follow by hand: counts of the token ids, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(16, 2)
        with torch.no_grad():
            self.linear.weight.copy_(torch.linspace(-0.3, 0.3, 32).reshape(2, 16))
            self.linear.bias.zero_()

    def forward(self, input_ids, attention_mask):
        counts = torch.nn.functional.one_hot(input_ids, 16).float() * attention_mask[..., None]
        return self.linear(counts.mean(dim=1))


class TestLoop:
    def test_two_steps_equal_adamw_written_out_in_float64(self, monkeypatch):
        """Clipping, decoupled decay on the matrix alone, bias correction, warm-up, cosine."""
        train = Examples(
            codes=[row[:12] for row in toy_examples(8, seed=4).codes],
            labels=np.arange(8) % 2,
            ids=tuple("abcdefgh"),
        )
        config = FineTuneConfig(
            epochs=2,
            lr=0.1,
            batch_size=8,
            weight_decay=0.5,
            warmup_fraction=0.5,
            patience=2,
            gradient_clip=0.05,
        )
        classifier = OneLayer()
        history = []
        original = torch.optim.AdamW.step

        def spy(optimizer, *arguments, **settings):
            original(optimizer, *arguments, **settings)
            history.append([part.detach().numpy().copy() for part in classifier.parameters()])

        monkeypatch.setattr(torch.optim.AdamW, "step", spy)
        start = [part.detach().double().numpy().copy() for part in classifier.parameters()]
        train_classifier(classifier, train, train, config, seed=0)
        expected = self.reference(train, *start, config, steps=2)
        assert len(history) == len(expected) == 2
        for got, written_out in zip(history, expected, strict=True):
            for part, value in zip(got, written_out, strict=True):
                np.testing.assert_allclose(part, value, rtol=1e-4, atol=1e-6)

    def reference(self, train, weight, bias, config, *, steps):
        history = []
        counts = np.stack([np.bincount(row + 7, minlength=16) / len(row) for row in train.codes])
        moments = [np.zeros_like(part) for part in (weight, bias, weight, bias)]
        warmup = round(0.5 * steps)
        for step in range(1, steps + 1):
            logits = counts @ weight.T + bias
            p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            error = (p - np.eye(2)[train.labels]) / len(p)
            gradients = [error.T @ counts, error.sum(axis=0)]
            norm = math.sqrt(sum((part**2).sum() for part in gradients))
            gradients = [part * min(1, config.gradient_clip / norm) for part in gradients]
            past_warmup = max(0, step - warmup) / (steps - warmup + 1)
            lr = config.lr * min(1, step / warmup) * (1 + math.cos(math.pi * past_warmup)) / 2
            updated = []
            for index, (part, decay) in enumerate(((weight, config.weight_decay), (bias, 0.0))):
                moments[index] = 0.9 * moments[index] + 0.1 * gradients[index]
                moments[index + 2] = 0.999 * moments[index + 2] + 0.001 * gradients[index] ** 2
                mean = moments[index] / (1 - 0.9**step)
                spread = np.sqrt(moments[index + 2] / (1 - 0.999**step))
                updated.append(part * (1 - lr * decay) - lr * mean / (spread + 1e-8))
            weight, bias = updated
            history.append((weight, bias))
        return history

    def test_the_rate_rises_then_falls_to_almost_zero(self, monkeypatch):
        seen = []
        original = torch.optim.AdamW.step

        def spy(optimizer, *arguments, **settings):
            seen.append(optimizer.param_groups[0]["lr"])
            return original(optimizer, *arguments, **settings)

        monkeypatch.setattr(torch.optim.AdamW, "step", spy)
        config = FineTuneConfig(epochs=5, lr=1.0, batch_size=12, warmup_fraction=0.1, patience=5)
        train_classifier(OneLayer(), TRAIN, VALID, config, seed=0)
        assert len(seen) == 50  # 10 batches of 12 from 120 examples, 5 epochs
        np.testing.assert_allclose(seen[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
        assert (np.diff(seen[5:]) < 0).all()
        assert 0 < seen[-1] < 0.01


class TestEmbed:
    @pytest.mark.parametrize("config", [MODEL, HYENA], ids=["attention", "hyena"])
    def test_equals_one_sequence_at_a_time_in_the_order_given(self, config):
        model = build_model(config, seed=0).eval()
        rows = embed(model, TEST.codes, max_tokens=100)
        assert rows.shape == (60, 16)
        assert rows.dtype == np.float32
        with torch.no_grad():
            for index in (0, 17, 59):
                ids = torch.tensor([[code + 7 for code in TEST.codes[index].tolist()]])
                expected = model(ids).hidden[0].mean(dim=0).numpy()
                np.testing.assert_allclose(rows[index], expected, atol=2e-5)

    def test_leaves_the_model_alone_and_ignores_its_training_mode(self):
        model = build_model(replace(MODEL, dropout=0.5), seed=0)
        before = weights(model)
        np.testing.assert_array_equal(embed(model, TEST.codes), embed(model, TEST.codes))
        assert model.training
        assert all(torch.equal(now, before[name]) for name, now in model.state_dict().items())

    def test_refuses_no_sequence_an_empty_and_a_long_one(self):
        model = build_model(MODEL, seed=0)
        with pytest.raises(DataError, match="no sequence"):
            embed(model, [])
        with pytest.raises(DataError, match=r"sequence 1 .*no base"):
            embed(model, [np.zeros(3, np.uint8), np.zeros(0, np.uint8)])
        with pytest.raises(DataError, match=r"65 bases.*max_length 64"):
            embed(model, [np.zeros(65, np.uint8)])


class TestBatches:
    def test_padding_and_mask(self):
        rows = [np.array([0, 1, 2], np.uint8), np.array([3, 4], np.uint8)]
        ids, mask = padded_batch(rows, np.array([1, 0]), CPU)
        assert ids.tolist() == [[10, 11, 4], [7, 8, 9]]  # T N [PAD], A C G
        assert mask.tolist() == [[True, True, False], [True, True, True]]

    def test_an_epoch_holds_every_example_once_in_an_order_of_its_own(self):
        lengths = np.random.default_rng(0).integers(10, 100, 531)

        def epoch(number: int, seed: int = 0) -> list[list[int]]:
            batches = shuffled_batches(lengths, batch_size=16, seed=seed, epoch=number)
            return [batch.tolist() for batch in batches]

        first = epoch(1)
        assert sorted(index for batch in first for index in batch) == list(range(531))
        assert epoch(1) == first
        assert epoch(2) != first
        assert epoch(1, seed=1) != first
        assert max(len(batch) for batch in first) == 16
        spread = [np.ptp(lengths[batch]) for batch in first]
        assert np.mean(spread) < 15  # 90 without buckets

    def test_equal_lengths_are_a_plain_permutation(self):
        batches = [*shuffled_batches(np.full(64, 9), batch_size=8, seed=0, epoch=1)]
        assert len({frozenset(batch.tolist()) for batch in batches}) == 8
        assert not any((np.diff(batch) == 1).all() for batch in batches)

    def test_prediction_batches_are_bounded_and_complete(self):
        lengths = np.random.default_rng(0).integers(1, 300, 400)
        batches = [*batches_by_length(lengths, max_tokens=1000)]
        assert sorted(np.concatenate(batches)) == list(range(400))
        assert all(len(batch) * lengths[batch].max() <= 1000 for batch in batches)
        assert len(batches) < 2 * lengths.sum() / 1000

    def test_columns_of_different_lengths_are_refused(self):
        with pytest.raises(DataError, match="1 sequences, 2 labels, 1 ids"):
            Examples(codes=[np.zeros(2, np.uint8)], labels=np.zeros(2, np.int64), ids=("a",))


@pytest.mark.parametrize("seed", range(3))
def test_selection_metrics_equal_scikit_learn(seed):
    from sklearn.metrics import accuracy_score, matthews_corrcoef

    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(0, 4, 80), rng.integers(0, 3, 80)
    assert selection_metric("mcc", labels, predictions) == pytest.approx(
        matthews_corrcoef(labels, predictions), abs=1e-12
    )
    assert selection_metric("accuracy", labels, predictions) == accuracy_score(labels, predictions)
