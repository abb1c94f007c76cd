"""Sequences as rows of tokens: padding, special tokens, lengths, and models that read them."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.data.examples import Examples
from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import encode
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.tokenizers.kmer import KmerTokenizer
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import embed, finetune
from lightning_dna.training.sequences import centre, checked_rows, padded_batch, padded_rows

CPU = torch.device("cpu")
CLOSED = KmerTokenizer(2, closed=True)  # <cls> ... <eos>
KMERS = Encoding(tokenizer=CLOSED, special=True)
MODEL = ModelConfig(
    width=16, layers=1, heads=2, max_length=40, vocab_size=CLOSED.vocab_size, position="rope"
)


def test_rows_are_padded_and_masked_by_length():
    """Padding is told by length, and not by an id that a sequence might hold."""
    rows = [np.array([7, 8, 4]), np.array([9]), np.array([4, 4])]
    ids, real = padded_rows(rows, np.array([1, 0, 2]), 4, CPU)
    assert ids.tolist() == [[9, 4, 4], [7, 8, 4], [4, 4, 4]]
    assert real.tolist() == [[True, False, False], [True, True, True], [True, True, False]]


def test_single_bases_have_nothing_around_them():
    ids, real = padded_batch([encode("ACG"), encode("t")], np.array([0, 1]), CPU)
    assert ids.tolist() == [[7, 8, 9], [10, 4, 4]]
    assert real.sum(1).tolist() == [3, 1]
    assert CHARACTERS.special_ids == ()
    assert CHARACTERS.by_base


def test_kmers_stand_between_their_special_tokens():
    ids = KMERS.row(encode("ACGTA"))
    assert [CLOSED.tokens[token] for token in ids] == ["<cls>", "AC", "GT", "A", "<eos>"]
    assert [CLOSED.tokens[token] for token in KMERS.special_ids] == ["<cls>", "<eos>"]
    assert not KMERS.by_base


def test_averages_leave_special_tokens_and_padding_out():
    model = build_model(MODEL, seed=0).eval()
    codes = [encode("ACGTACG"), encode("TT")]
    found = embed(model, codes, encoding=KMERS)
    for row, one in zip(found, codes, strict=True):
        ids = torch.from_numpy(KMERS.row(one).astype(np.int64))[None]
        with torch.no_grad():
            hidden = model(ids).hidden[0, 1:-1]
        np.testing.assert_allclose(row, hidden.mean(0).numpy(), atol=1e-5)


def examples(n: int, seed: int) -> Examples:
    """Class 1 is rich in the dinucleotide AC, class 0 in CA: composition tells nothing."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    codes = []
    for label in labels:
        pairs = rng.integers(0, 4, (rng.integers(8, 14), 2))
        pairs[rng.random(len(pairs)) < 0.5] = (0, 1) if label else (1, 0)
        codes.append(pairs.ravel().astype(np.uint8))
    return Examples(codes=codes, labels=labels, ids=tuple(f"{seed}-{i}" for i in range(n)))


def test_fine_tuning_reads_tokens():
    train, valid, test = examples(80, 1), examples(40, 2), examples(60, 3)
    config = FineTuneConfig(epochs=4, lr=1e-2, batch_size=16, patience=4)
    model = build_model(MODEL, seed=0)
    before = copy.deepcopy(model.state_dict())
    tuned = finetune(model, train, valid, config, n_classes=2, seed=0, encoding=KMERS)
    assert (tuned.predict(test).argmax(1) == test.labels).mean() > 0.9
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_lengths_are_counted_in_tokens():
    rows = checked_rows([encode("ACGT"), encode("AC" * 38)], MODEL, KMERS, where="x")
    assert [len(row) for row in rows] == [2 + 2, 38 + 2]  # 76 bases, and max_length is 40


def test_too_long_sequences_say_how_many_tokens_there_are():
    with pytest.raises(DataError, match=r"valid part: sequence 1 .* 41 tokens with the special"):
        checked_rows([encode("A"), encode("A" * 77)], MODEL, KMERS, where="valid part")
    with pytest.raises(DataError, match=r"valid part: sequence 0 .* has 41 bases, above model"):
        checked_rows([encode("A" * 41)], MODEL, CHARACTERS, where="valid part")
    far = replace(MODEL, position="alibi")
    assert len(checked_rows([encode("A" * 99)], far, KMERS, where="x")[0]) == 52
    with pytest.raises(DataError, match="no base"):
        checked_rows([encode("")], MODEL, KMERS, where="x")
    with pytest.raises(DataError, match="no sequence"):
        checked_rows([], MODEL, KMERS, where="x")


class TestTooLong:
    """The middle of a sequence, counted by hand."""

    def test_the_middle_is_kept_and_one_more_goes_on_the_right(self):
        assert centre(np.arange(10), 4).tolist() == [3, 4, 5, 6]
        assert centre(np.arange(9), 4).tolist() == [2, 3, 4, 5]
        assert centre(np.arange(4), 4).tolist() == [0, 1, 2, 3]

    def test_special_tokens_stay_at_the_ends(self):
        row = np.array([1, 10, 11, 12, 13, 14, 15, 2])
        assert centre(row, 5, special_ids=(1, 2)).tolist() == [1, 11, 12, 13, 2]
        assert centre(row[1:], 4, special_ids=(1, 2)).tolist() == [11, 12, 13, 2]

    def test_only_rows_that_are_too_long_are_cut(self):
        codes = [encode("A" * 10), encode("C" * 18 + "G" * 40 + "T" * 18)]
        rows = checked_rows(codes, MODEL, CHARACTERS, where="x", too_long="truncate_center")
        assert [len(row) for row in rows] == [10, 40]
        assert set(rows[1].tolist()) == {9}  # G, and neither end
        tokens = checked_rows(
            [encode("AC" * 60)], MODEL, KMERS, where="x", too_long="truncate_center", spare=3
        )
        assert len(tokens[0]) == 37
        assert (tokens[0][0], tokens[0][-1]) == KMERS.special_ids

    def test_a_prompt_that_leaves_no_place(self):
        with pytest.raises(DataError, match="40 of the model's 40 positions"):
            checked_rows([encode("A")], MODEL, CHARACTERS, where="x", spare=40)
