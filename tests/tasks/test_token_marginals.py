"""Bases from tokens: against the path of single bases, and against every token counted by hand."""

import itertools
import math
import re

import numpy as np
import pytest
import torch

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import encode
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.tasks.baselines.markov import score_markov
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.heldout_mlm import HeldoutMLM, WindowBases, model_log_probabilities
from lightning_dna.tasks.token_marginals import (
    BaseMarginals,
    masked_tokens,
    token_log_probabilities,
)
from lightning_dna.tokenizers.character import CharacterTokenizer
from lightning_dna.tokenizers.kmer import KmerTokenizer

TWO = KmerTokenizer(2)
RNG = np.random.default_rng(5)
CODES = RNG.integers(0, 4, (3, 23)).astype(np.uint8)
HIDDEN = (RNG.random(CODES.shape) < 0.2) & (np.arange(23) > 0)


class Pieces:
    """Tokens of one to three letters, the longest that fits first; an id for the mask, and N."""

    tokens = ("[PAD]", "[MASK]", "[CLS]", "[SEP]", "A", "C", "G", "T", "N", "AC", "GT", "TTA", "CA")
    vocab_size = len(tokens)
    pad_id, mask_id, cls_id, sep_id, unk_id, prefix_length = 0, 1, 2, 3, 8, 1

    def encode_with_offsets(self, codes):
        text = "".join("ACGTN"[code] for code in codes)
        ids, spans, at = [], [], 0
        while at < len(text):
            fits = [t for t in self.tokens[4:] if text.startswith(t, at)]
            best = max(fits, key=len)
            ids.append(self.tokens.index(best))
            spans.append((at, at + len(best)))
            at += len(best)
        return np.array(ids), np.array(spans, dtype=np.int64).reshape(-1, 2)

    def encode_codes(self, codes):
        return self.encode_with_offsets(codes)[0]

    def with_special(self, ids):
        return np.concatenate(([self.cls_id], ids, [self.sep_id]))


def model_of(tokenizer, **changes):
    config = {"width": 16, "layers": 2, "heads": 2, "max_length": 40, "initial_std": 0.5}
    vocabulary = {"vocab_size": tokenizer.vocab_size + 3}  # more rows than tokens, as published
    return build_model(ModelConfig(**(config | vocabulary | changes)), seed=1).double().eval()


def score(model, tokenizer, codes=CODES, hidden=HIDDEN, *, special=False):
    encoding = Encoding(tokenizer=tokenizer, special=special)
    return token_log_probabilities(model, codes, hidden, encoding, BaseMarginals(tokenizer))


def test_tokens_of_one_base_are_scored_as_bases():
    model = model_of(CharacterTokenizer())
    batch = WindowBases(windows=None, codes=CODES, repeat=HIDDEN, hidden=HIDDEN)
    expected = model_log_probabilities(model, batch)
    found = score(model, CharacterTokenizer())
    assert found.shape == (HIDDEN.sum(), 4)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # And 1-mers: the same model with its table in the order of the other vocabulary.
    kmers, bases = KmerTokenizer(1), CharacterTokenizer()
    order = torch.tensor([kmers.tokens.index(letter) for letter in "ACGTN"])
    moved = model_of(kmers, vocab_size=model.config.vocab_size)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    table = weights["backbone.embedding.weight"]
    table[order] = model.state_dict()["backbone.embedding.weight"][7:12]
    table[kmers.mask_id] = model.state_dict()["backbone.embedding.weight"][bases.mask_id]
    moved.load_state_dict(weights)
    np.testing.assert_allclose(score(moved, kmers), expected, atol=1e-6)


def sums_by_hand(model, tokenizer, row, place, fits, offset):
    """Every token's probability at one mask, summed one by one."""
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer.with_special(np.array(row)).tolist()])).logits
    probabilities = logits[0, place + 1].softmax(-1).tolist()
    sums = dict.fromkeys("ACGT", 0.0)
    for token, text in enumerate(tokenizer.tokens):
        if set(text) <= set("ACGTN") and fits(text) and text[offset] in sums:
            sums[text[offset]] += probabilities[token]
    shares = [sums[letter] / sum(sums.values()) for letter in "ACGT"]
    return [math.log(share) if share else -math.inf for share in shares]


def test_two_mers_equal_the_sum_over_all_of_them():
    """Windows of 23 bases end in a single base, which only single bases can be."""
    tokenizer = KmerTokenizer(2)
    hidden = HIDDEN.copy()
    hidden[:, -1] = True
    model, expected = model_of(tokenizer), []
    for one, flags in zip(CODES, hidden, strict=True):
        row = [int(token) for token in tokenizer.encode_codes(one)]
        for place in np.flatnonzero(flags):
            row[place // 2] = tokenizer.mask_id
        for place in np.flatnonzero(flags):
            size = 1 if place == 22 else 2
            at = (model, tokenizer, row, place // 2)
            expected.append(sums_by_hand(*at, lambda t, n=size: len(t) == n, place % 2))
    found = score(model, tokenizer, hidden=hidden, special=True)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)


def test_tokens_of_any_length_equal_the_sum_over_all_that_begin_so():
    tokenizer, expected = Pieces(), []
    model = model_of(tokenizer, max_length=60)
    for one, flags in zip(CODES, HIDDEN, strict=True):
        text = "".join("?" if flag else "ACGT"[code] for code, flag in zip(one, flags, strict=True))
        row, masks = [], []
        for part in re.split(r"(\?)", text):
            if part == "?":
                masks.append(len(row))
                row.append(tokenizer.mask_id)
            else:
                row += tokenizer.encode_codes(encode(part)).tolist()
        expected += [sums_by_hand(model, tokenizer, row, m, lambda t: True, 0) for m in masks]
    np.testing.assert_allclose(score(model, tokenizer, special=True), expected, atol=1e-9)


@pytest.mark.parametrize("tokenizer", [KmerTokenizer(2), Pieces()], ids=["2-mers", "pieces"])
def test_what_is_hidden_is_not_read(tokenizer):
    """Nor are the ends of tokens told by it: any bases in the hidden places give the same."""
    model = model_of(tokenizer, max_length=60)
    before = score(model, tokenizer, special=True)
    for turn in (1, 2, 3):
        changed = CODES.copy()
        changed[HIDDEN] = (changed[HIDDEN] + turn) % 4
        np.testing.assert_array_equal(score(model, tokenizer, changed, special=True), before)


@pytest.mark.parametrize("tokenizer", [KmerTokenizer(2), Pieces()], ids=["2-mers", "pieces"])
def test_neighbours_are_read_but_those_in_the_same_kmer(tokenizer):
    model = model_of(tokenizer)
    hidden = np.zeros_like(HIDDEN)
    hidden[:, 4] = True  # with 2-mers, in that of bases 4 and 5
    before = score(model, tokenizer, hidden=hidden, special=True)
    for place in (3, 5, 6):
        changed = CODES.copy()
        changed[:, place] = 3 - changed[:, place]
        moved = np.abs(score(model, tokenizer, changed, hidden, special=True) - before).max()
        assert (moved == 0) == (isinstance(tokenizer, KmerTokenizer) and place == 5)


def test_masks_and_places_by_hand():
    hidden = np.zeros(12, dtype=bool)
    hidden[[2, 7, 8, 11]] = True
    ids, mask, offset, span = masked_tokens(encode("ACGTACTTANCA"), hidden, Pieces())
    texts = ["AC", "[MASK]", "T", "AC", "T", "[MASK]", "[MASK]", "N", "C", "[MASK]"]
    assert [Pieces.tokens[i] for i in ids] == texts
    assert mask.tolist() == [1, 5, 6, 9]
    assert (offset.tolist(), span.tolist()) == ([0] * 4, [1] * 4)
    ids, mask, offset, span = masked_tokens(encode("ACGTACTTANCAT"), np.append(hidden, True), TWO)
    assert [TWO.tokens[i] for i in ids] == [
        "AC",
        "<mask>",
        "AC",
        "<mask>",
        "<mask>",
        "N",
        "<mask>",
        "<mask>",
    ]
    assert mask.tolist() == [1, 3, 4, 6, 7]
    assert offset.tolist() == [0, 1, 0, 1, 0]
    assert span.tolist() == [2, 2, 1, 2, 1]


def test_everything_or_nothing_hidden():
    for tokenizer in (TWO, Pieces()):
        ids, mask, *_ = masked_tokens(encode("ACGT"), np.ones(4, dtype=bool), tokenizer)
        assert set(ids) == {tokenizer.mask_id}
        assert mask.tolist() == ([0, 0, 1, 1] if tokenizer is TWO else [0, 1, 2, 3])
        ids, mask, *_ = masked_tokens(encode("ACGT"), np.zeros(4, dtype=bool), tokenizer)
        assert ids.tolist() == tokenizer.encode_codes(encode("ACGT")).tolist()
        assert not len(mask)


def test_random_weights_are_no_better_than_guessing():
    """With tokens masked where they stand in the full sequence they would be."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (60, 40)).astype(np.uint8)
    hidden = (rng.random(codes.shape) < 0.15) & (np.arange(40) > 0)
    for tokenizer in (TWO, Pieces()):
        model = model_of(tokenizer, max_length=60, initial_std=0.02)
        found = score(model, tokenizer, codes, hidden, special=True)
        nats = -found[np.arange(len(found)), codes[hidden]]
        assert nats.mean() / math.log(2) > 1.98


def test_a_window_with_nothing_hidden_and_one_full_of_n():
    tokenizer = KmerTokenizer(2)
    hidden = HIDDEN.copy()
    hidden[1] = False
    codes = CODES.copy()
    codes[1] = 4
    both = score(model_of(tokenizer), tokenizer, codes, hidden, special=True)
    alone = score(model_of(tokenizer), tokenizer, codes[[0, 2]], hidden[[0, 2]], special=True)
    np.testing.assert_allclose(both, alone, atol=1e-9)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list("ACGTacgtN"), 700)) for _ in range(2)]
    path.write_text("".join(f">chr{i + 1}\n{text}\n" for i, text in enumerate(texts)))
    card = TaskCard(name="bases", kind="heldout_mlm", title="x", cluster_length=100)
    split = ChromosomeSplit(train=("chr1",), valid=(), test=("chr2",))
    return HeldoutMLM(card, Genome.open(path), split, length=50)


@pytest.mark.parametrize("tokenizer", [KmerTokenizer(3), Pieces()], ids=["3-mers", "pieces"])
def test_rows_are_those_of_every_other_arm(task, tokenizer):
    encoding = Encoding(tokenizer=tokenizer, special=True)
    model = model_of(tokenizer, max_length=60).float()
    found = task.score(model, variant="tokens", seed=0, encoding=encoding).frame
    other = score_markov(task, 1).frame
    keys = ["part", "example_id", "cluster_id", "chrom", "stratum", "masked"]
    assert found[keys].equals(other[keys])
    assert not found["nats"].equals(other["nats"])


def test_what_cannot_be_scored(task):
    tokenizer = KmerTokenizer(3)
    encoding = Encoding(tokenizer=tokenizer, special=True)
    short = model_of(tokenizer, max_length=10, position="rope")
    with pytest.raises(DataError, match=r"tokens with the special ones.*the checkpoint takes 10"):
        task.score(short, variant="x", seed=0, encoding=encoding)
    far = model_of(tokenizer, max_length=10)  # ALiBi reads on
    assert len(task.score(far, variant="x", seed=0, encoding=encoding).frame)
    causal = model_of(tokenizer, objective="next_token")
    with pytest.raises(ConfigError, match="next-token model over tokens of several bases"):
        task.score(causal, variant="x", seed=0, encoding=encoding)
    with pytest.raises(ConfigError, match="overlapping 3-mers"):
        BaseMarginals(KmerTokenizer(3, overlapping=True))


def test_a_vocabulary_larger_than_the_model():
    with pytest.raises(DataError, match=r"here: the tokenizer has 4107 tokens.*rows for 16"):
        Encoding(tokenizer=KmerTokenizer(6)).check_vocabulary(ModelConfig(), where="here")
    CHARACTERS.check_vocabulary(ModelConfig(), where="here")


def test_every_vocabulary_sums_to_one():
    tokenizer = KmerTokenizer(2)
    logits = torch.randn(4, tokenizer.vocab_size, generator=torch.Generator().manual_seed(0))
    for offset, span in itertools.product((0, 1), (1, 2)):
        if offset < span:
            place = np.full(4, offset), np.full(4, span)
            found = BaseMarginals(tokenizer).log_probabilities(logits, *place).exp().sum(1)
            torch.testing.assert_close(found, torch.ones(4, dtype=torch.float64))
