"""Both strands: complements from the alphabet, equivariance, and what each setting changes."""

import numpy as np
import pytest
import torch

from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import reverse_complement
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.cost import flops_per_base, parameter_counts
from lightning_dna.models.heads import ClassificationHead
from lightning_dna.models.language_model import LanguageModel, build_model
from lightning_dna.models.strand import complement_table
from lightning_dna.testing.models import filled
from lightning_dna.tokenizers.character import CharacterTokenizer

SEQUENCES = ("ACGTTGCANCA", "TTTACGGATCC")
MIXERS = ("attention", "hyena", "convolution", "dilated", ("hyena", "attention"))


def config_of(**changes) -> ModelConfig:
    settings = {"width": 8, "heads": 2, "layers": 2, "max_length": 16, "hyena_filter_width": 4}
    return ModelConfig(**{**settings, **changes})


def model_of(**changes) -> LanguageModel:
    model = build_model(config_of(**changes), seed=0).double().eval()
    filled(model)
    return model


def ids(sequences: tuple[str, ...]) -> torch.Tensor:
    rows = [CharacterTokenizer().encode(sequence) for sequence in sequences]
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def other_strand(sequences: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        "".join({"A": "T", "C": "G", "G": "C", "T": "A"}.get(base, base) for base in reversed(text))
        for text in sequences
    )


def broken(model: LanguageModel) -> float:
    """Largest difference between the output for the other strand and the other strand's output."""
    letters = CharacterTokenizer().tokens
    partner = {"A": "T", "C": "G", "G": "C", "T": "A"}
    columns = [letters.index(partner.get(letter, letter)) for letter in letters]
    with torch.no_grad():
        given = model(ids(SEQUENCES)).logits[..., : len(letters)]
        other = model(ids(other_strand(SEQUENCES))).logits[..., : len(letters)]
    return (other.flip(1)[..., columns] - given).abs().max().item()


def test_complements_are_those_of_the_alphabet():
    tokenizer, table = CharacterTokenizer(), complement_table(16)
    codes = np.arange(5, dtype=np.uint8)
    complement = reverse_complement(codes)[::-1]  # of each code by itself
    assert table[tokenizer.encode_codes(codes).astype(np.int64)].tolist() == [
        *tokenizer.encode_codes(complement).tolist()
    ]
    assert table[:7].tolist() == [*range(7)]
    assert table[11:].tolist() == [*range(11, 16)]


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("strand", ["averaged", "equivariant"])
def test_the_other_strand_gives_the_other_strands_output(mixer, strand):
    assert broken(model_of(mixer=mixer, strand=strand)) < 1e-12


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_model_of_one_strand_does_not(mixer):
    assert broken(model_of(mixer=mixer)) > 1e-3


def test_logits_are_the_mean_of_two_readings():
    """Against the plain model with the same weights, read twice and laid over by hand."""
    plain, both = model_of(mixer="hyena"), model_of(mixer="hyena", strand="averaged")
    both.load_state_dict(plain.state_dict())
    with torch.no_grad():
        forward, backward = (
            plain(ids(SEQUENCES)).logits,
            plain(ids(other_strand(SEQUENCES))).logits,
        )
        found = both(ids(SEQUENCES)).logits
    for base, partner in ((7, 10), (8, 9), (9, 8), (10, 7), (11, 11), (3, 3)):
        expected = (forward[..., base] + backward.flip(1)[..., partner]) / 2
        torch.testing.assert_close(found[..., base], expected, rtol=0, atol=1e-12)


def test_averaged_trains_on_the_strand_it_is_given():
    plain, averaged = (
        build_model(config_of(**changes), seed=0) for changes in ({}, {"strand": "averaged"})
    )
    tokens = ids(SEQUENCES)
    assert torch.equal(plain(tokens).logits, averaged(tokens).logits)
    assert not torch.equal(plain.eval()(tokens).logits, averaged.eval()(tokens).logits)


def test_equivariant_trains_on_both_with_one_set_of_weights():
    plain, model = (
        build_model(config_of(**changes), seed=0) for changes in ({}, {"strand": "equivariant"})
    )
    shared = plain.state_dict()
    assert model.state_dict().keys() == shared.keys()
    assert all(torch.equal(value, shared[name]) for name, value in model.state_dict().items())
    loss_of = [
        model(ids(batch)).hidden.square().sum() for batch in (SEQUENCES, other_strand(SEQUENCES))
    ]
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in loss_of]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strand", ["averaged", "equivariant"])
def test_a_classifier_cannot_tell_the_strands_apart(strand):
    model = model_of(mixer="hyena", strand=strand)
    head = ClassificationHead(8, n_classes=3, seed=0).double()
    with torch.no_grad():
        classes = [
            head(model.backbone(ids(batch)), None) for batch in (SEQUENCES, other_strand(SEQUENCES))
        ]
    torch.testing.assert_close(*classes, rtol=0, atol=1e-12)


def test_the_price_of_two_strands():
    single, averaged, equivariant = (
        config_of(strand=strand) for strand in ("single", "averaged", "equivariant")
    )
    assert parameter_counts(equivariant) == parameter_counts(single)
    once = flops_per_base(single, 10).training_total
    assert flops_per_base(averaged, 10).training_total == once
    assert flops_per_base(equivariant, 10).training_total == 2 * once


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strand": "both"}, "model.strand.*averaged, equivariant, single"),
        ({"strand": "averaged", "objective": "next_token"}, "'averaged' reads.*masked"),
        ({"strand": "equivariant", "vocab_size": 4096}, "one token per base.*4096.*12 to 16"),
    ],
)
def test_bad_settings_say_what_to_change(changes, said):
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        config_of(**changes)
