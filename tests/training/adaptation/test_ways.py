"""Every way of training something on a checkpoint: what moves, what stays, what decides it."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.models.language_model import build_model
from lightning_dna.tasks.card import Way
from lightning_dna.training.adaptation.ways import STARTS_FRESH, TRAINED_WAYS, adapt

WAYS = [*TRAINED_WAYS]
# By hand, at width 16, 2 classes and the settings of the fixture. Head: 2 * 16 + 2 = 34.
UPDATED = {
    # Convolutions 16 -> 64 and 64 -> 64 of 3 taps with biases, and a head on 64 channels.
    "frozen_cnn": (16 * 64 * 3 + 64) + (64 * 64 * 3 + 64) + (2 * 64 + 2),
    # Query and value in 2 layers, each of rank 2 from 16 to 16 channels.
    "lora": 2 * 2 * (2 * 16 + 16 * 2) + 34,
    # Key and value (16 each) and 64 inner channels in 2 layers.
    "ia3": 2 * (16 + 16 + 64) + 34,
    "soft_prompt": 5 * 16 + 34,
}


def test_the_ways_of_a_card_are_these_and_the_two_probes():
    assert set(get_args(Way)) == {*TRAINED_WAYS, "frozen", "random"}
    assert {"scratch", "random"} == STARTS_FRESH


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["attention", "hyena"])
def test_every_way_learns_a_task_that_can_be_learned(toy, name, way):
    tuned = adapt(toy.models[name], way, toy.train, toy.valid, toy.settings, n_classes=2, seed=0)
    assert (tuned.predict(toy.test).argmax(axis=1) == toy.test.labels).mean() > 0.85
    assert 1 <= tuned.best_epoch <= tuned.epochs_run <= 4
    assert tuned.best_step % 6 == 0  # 96 examples make 6 batches of 16
    assert tuned.examples_per_second > 0
    assert tuned.context_length == max(map(len, toy.train.codes)) + 5 * (way == "soft_prompt")


@pytest.mark.parametrize(("way", "updated"), UPDATED.items())
def test_the_updated_parameters_are_those_counted_by_hand(toy, way, updated):
    short = replace(toy.settings, epochs=1)
    tuned = adapt(toy.models["attention"], way, toy.train, toy.valid, short, n_classes=2, seed=0)
    assert tuned.parameters_updated == updated


@pytest.mark.parametrize("name", ["attention", "hyena", "mamba", "dilated", "convolution", "glu"])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_trained_moves_and_the_rest_stays_bit_for_bit(toy, way, name):
    model = toy.models[name]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    few = toy.train.select(np.arange(32))
    settings = replace(toy.settings, epochs=1, lr=1e-2)
    tuned = adapt(model, way, few, toy.valid, settings, n_classes=2, seed=0)
    for key, value in model.state_dict().items():  # the caller's model
        assert torch.equal(value, before[key])
    assert all(part.grad is None for part in model.parameters())
    original = {key.removeprefix("backbone."): value for key, value in before.items()}
    trained = {key for key, part in tuned.classifier.named_parameters() if part.requires_grad}
    for key, part in tuned.classifier.named_parameters():
        old = key.removeprefix("backbone.").replace("embedding.tokens.", "embedding.")
        old = old.replace("parametrizations.weight.original", "weight")
        old = old.replace("parametrizations.bias.original", "bias")
        if key not in trained:
            assert torch.equal(part, original[old]), key
            assert part.grad is None, key
    of_trunk = {key for key in trained if key.startswith("backbone.")}
    if way in ("full", "scratch"):
        assert of_trunk == {f"backbone.{key}" for key, _ in model.backbone.named_parameters()}
    elif way in ("lora", "ia3"):
        assert of_trunk
        assert all(".parametrizations." in key for key in of_trunk)
    else:
        assert of_trunk == ({"backbone.embedding.prompt"} if way == "soft_prompt" else set())
    moved = sum(tuned.classifier.get_parameter(key).numel() for key in trained)
    assert tuned.parameters_updated == moved


@pytest.mark.parametrize("way", WAYS)
def test_the_seed_decides_everything(toy, way):
    model = build_model(replace(toy.configs["attention"], dropout=0.2), seed=0)
    settings = replace(toy.settings, epochs=1)

    def result(seed: int) -> np.ndarray:
        torch.manual_seed(np.random.default_rng().integers(2**31))  # must not matter
        tuned = adapt(model, way, toy.train, toy.valid, settings, n_classes=2, seed=seed)
        return tuned.predict(toy.test)

    first = result(0)
    np.testing.assert_array_equal(result(0), first)
    assert np.abs(result(1) - first).max() > 1e-5


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("changes", [{"pooling": "max"}, {"pooling": "attention"}, {"layer": 1}])
def test_every_way_takes_every_pooling_and_layer(toy, way, changes):
    settings = replace(toy.settings, epochs=1, **changes)
    tuned = adapt(toy.models["hybrid"], way, toy.train, toy.valid, settings, n_classes=2, seed=0)
    probabilities = tuned.predict(toy.test)
    assert probabilities.shape == (48, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)


def test_a_long_sequence_is_an_error_or_keeps_its_middle(toy):
    long = toy.examples(16, seed=0, length=150)
    arguments = (toy.models["hyena"], "lora", long, long)
    with pytest.raises(DataError, match=r"above model\.max_length 64.*truncate_center"):
        adapt(*arguments, toy.settings, n_classes=2, seed=0)
    cut = replace(toy.settings, too_long="truncate_center", epochs=1)
    tuned = adapt(*arguments, cut, n_classes=2, seed=0)
    assert tuned.context_length == 64
    assert tuned.predict(long).shape == (16, 2)


def test_bad_names_and_settings_say_what_is_allowed(toy):
    given = (toy.train, toy.valid, toy.settings)
    with pytest.raises(ConfigError, match=r"unknown way 'lorra'.*soft_prompt.*Did you mean 'lora'"):
        adapt(toy.models["hyena"], "lorra", *given, n_classes=2, seed=0)
    several = replace(toy.settings, lr=(1e-3, 1e-4))
    with pytest.raises(ConfigError, match=r"finetune\.lr holds 2 rates"):
        adapt(toy.models["hyena"], "full", toy.train, toy.valid, several, n_classes=2, seed=0)
    deep = replace(toy.settings, layer=3)
    with pytest.raises(ConfigError, match=r"finetune\.layer is 3, and the model has 2 blocks"):
        adapt(toy.models["hyena"], "full", toy.train, toy.valid, deep, n_classes=2, seed=0)
    named = replace(toy.settings, lora_targets=("query",))
    with pytest.raises(ConfigError, match=r"finetune\.lora_targets.*'query'.*input, output"):
        adapt(toy.models["hyena"], "lora", toy.train, toy.valid, named, n_classes=2, seed=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["attention", "hyena", "dilated"])
def test_every_way_learns_on_a_gpu(toy, name, way):
    given = (toy.models[name], way, toy.train, toy.valid, toy.settings)
    tuned = adapt(*given, n_classes=2, seed=0, device="cuda")
    assert (tuned.predict(toy.test).argmax(axis=1) == toy.test.labels).mean() > 0.85
