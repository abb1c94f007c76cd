"""Soft prompts: where they stand, what they move, and that padding stays without effect."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from lightning_dna.data.encoding import Encoding
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.models.language_model import build_model
from lightning_dna.tokenizers.character import CharacterTokenizer
from lightning_dna.training.adaptation.prompts import PromptedClassifier
from lightning_dna.training.adaptation.ways import adapt
from lightning_dna.training.config import FineTuneConfig

EVERY = ["attention", "rope", "learned", "hyena", "causal", "mamba", "convolution"]
SETTINGS = FineTuneConfig(prompt_length=4)


def prompted(model, **changes) -> PromptedClassifier:
    made = PromptedClassifier(model, n_classes=2, seed=0, config=replace(SETTINGS, **changes))
    return made.eval()


def with_prompt(classifier: PromptedClassifier, ids: list[int]) -> torch.Tensor:
    return torch.tensor([[*classifier.prompt_ids, *ids]])


@pytest.mark.parametrize("name", EVERY)
def test_equals_a_model_whose_table_was_extended_by_hand(toy, name):
    """The same function with an ordinary embedding of four more rows, at positions 0 to 3."""
    classifier = prompted(toy.models[name])
    assert classifier.prompt_ids == (16, 17, 18, 19)
    by_hand = build_model(replace(toy.configs[name], vocab_size=20), seed=0).eval()
    plain = {
        key.replace("embedding.tokens.weight", "embedding.weight"): value
        for key, value in classifier.backbone.state_dict().items()
    }
    plain["embedding.weight"] = torch.cat((plain["embedding.weight"], plain["embedding.prompt"]))
    del plain["embedding.prompt"]
    by_hand.backbone.load_state_dict(plain)
    rows = torch.tensor([[16, 17, 18, 19, 7, 8, 9, 10, 7]])
    with torch.no_grad():
        hidden = by_hand.backbone(rows)[0, 4:].mean(dim=0)  # the prompt is not averaged over
        expected = classifier.head.linear(hidden)
        got = classifier(rows, torch.ones_like(rows, dtype=torch.bool))[0]
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_padding_changes_nothing_and_the_prompt_does(toy, name):
    classifier = prompted(toy.models[name])
    alone = with_prompt(classifier, [7, 8, 9, 10, 8])
    padded = torch.cat((alone, torch.full((1, 6), 4)), dim=1)
    mask = torch.arange(padded.shape[1])[None] < alone.shape[1]
    with torch.no_grad():
        expected = classifier(alone, torch.ones_like(alone, dtype=torch.bool))
        np.testing.assert_allclose(classifier(padded, mask), expected, atol=1e-5)
        changed = copy.deepcopy(classifier)
        changed.backbone.embedding.prompt.copy_(torch.linspace(-1, 1, 64).reshape(4, 16) ** 3)
        other = changed(alone, torch.ones_like(alone, dtype=torch.bool))
    assert (other - expected).abs().max() > 1e-5


def test_first_and_last_are_looked_up_behind_the_prompt(toy):
    model = toy.models["attention"]
    rows = torch.tensor([[16, 17, 18, 19, 7, 8, 9]])
    mask = torch.ones_like(rows, dtype=torch.bool)
    for how, at in (("first", 4), ("last", 6)):
        classifier = prompted(model, pooling=how)
        with torch.no_grad():
            expected = classifier.head.linear(classifier.backbone(rows, mask)[:, at])
            np.testing.assert_allclose(classifier(rows, mask), expected, atol=1e-6)


def test_special_tokens_stand_behind_the_prompt_and_are_not_averaged(toy):
    encoding = Encoding(tokenizer=CharacterTokenizer(), special=True)
    ids = encoding.row(np.array([0, 1, 2], np.uint8)).tolist()
    model = toy.models["attention"]
    classifier = PromptedClassifier(
        model, n_classes=2, seed=0, special_ids=encoding.special_ids, config=SETTINGS
    ).eval()
    rows = with_prompt(classifier, ids)
    mask = torch.ones_like(rows, dtype=torch.bool)
    with torch.no_grad():
        bases = [at for at, token in enumerate(rows[0].tolist()) if 7 <= token <= 10]
        expected = classifier.head.linear(classifier.backbone(rows, mask)[0, bases].mean(dim=0))
        np.testing.assert_allclose(classifier(rows, mask)[0], expected, atol=1e-6)
    assert len(bases) == 3


def test_a_tuned_trunk_moves_with_the_prompt(toy):
    settings = replace(toy.settings, epochs=1, prompt_backbone="tuned")
    model = toy.models["hyena"]
    tuned = adapt(model, "soft_prompt", toy.train, toy.valid, settings, n_classes=2, seed=0)
    trunk = sum(part.numel() for part in model.backbone.parameters())
    assert tuned.parameters_updated == trunk + 5 * 16 + 34
    moved = tuned.classifier.backbone.blocks[0].mixer.input.weight
    assert not torch.equal(moved, model.backbone.blocks[0].mixer.input.weight)


def test_the_prompt_counts_towards_the_longest_sequence(toy):
    exact = toy.examples(16, seed=0, length=60)
    assert max(map(len, exact.codes)) == 60 == 64 - 4
    settings = replace(toy.settings, epochs=1, prompt_length=4)
    adapt(toy.models["hyena"], "soft_prompt", exact, exact, settings, n_classes=2, seed=0)
    longer = replace(settings, prompt_length=5)
    with pytest.raises(DataError, match=r"60 bases.*64 less 5 of the prompt \(finetune\.prompt_le"):
        adapt(toy.models["hyena"], "soft_prompt", exact, exact, longer, n_classes=2, seed=0)
    whole = replace(settings, prompt_length=64)
    with pytest.raises(DataError, match=r"64 of the model's 64 positions.*leaves none"):
        adapt(toy.models["hyena"], "soft_prompt", exact, exact, whole, n_classes=2, seed=0)


def test_both_strands_are_refused(toy):
    model = build_model(replace(toy.configs["attention"], strand="equivariant"), seed=0)
    with pytest.raises(ConfigError, match=r"model\.strand 'equivariant'.*strand 'single'"):
        prompted(model)
