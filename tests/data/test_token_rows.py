"""Rows of k-mers and byte pairs: what is hidden, what is to be predicted, what the loss weighs."""

import numpy as np
import pytest
import torch

from lightning_dna.data.batches import IGNORE
from lightning_dna.data.config import DataConfig
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.data.masking import draw_masks
from lightning_dna.data.module import GenomeDataModule
from lightning_dna.data.token_rows import TokenRows
from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import encode
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import SplitSpec
from lightning_dna.tokenizers.bpe import BPETokenizer
from lightning_dna.tokenizers.kmer import KmerTokenizer

PAIRS = BPETokenizer.from_merges([("A", "C"), ("AC", "G")])


def rows_of(tokenizer, *, objective="masked", seed=0, fraction=0.15, single=False):
    return TokenRows(tokenizer, objective=objective, seed=seed, fraction=fraction, single=single)


def texts(tokenizer, ids):
    return [tokenizer.tokens[number] for number in ids]


def test_each_row_is_tokenized_by_itself():
    rows = rows_of(PAIRS)
    tokens = rows.tokenize(encode("TACGACGTAC"), np.array([6, 4]))  # TACGAC and GTAC
    assert texts(PAIRS, tokens.ids) == ["T", "ACG", "AC", "G", "T", "AC"]
    assert tokens.starts.tolist() == [0, 1, 4, 6, 7, 8]
    assert tokens.counts.tolist() == [3, 3]


def test_next_tokens_end_with_the_row_and_stop_before_an_n():
    rows = rows_of(KmerTokenizer(2), objective="next_token")
    batch = rows.batch(0, encode("ACGTNAACCG"), np.array([7, 3]))
    # AC GT N AA | CC G
    tokenizer = rows.tokenizer
    assert texts(tokenizer, batch.input_ids[0]) == ["AC", "GT", "N", "AA"]
    assert texts(tokenizer, batch.input_ids[1]) == ["CC", "G", "<pad>", "<pad>"]
    names = [[None if t == IGNORE else tokenizer.tokens[t] for t in row] for row in batch.targets]
    assert names == [["GT", None, "AA", None], ["G", None, None, None]]
    assert batch.attention_mask.tolist() == [[True] * 4, [True, True, False, False]]
    assert batch.tokens == 6


def test_a_token_is_a_target_where_its_first_base_is_drawn():
    tokenizer, step, fraction = KmerTokenizer(3), 4, 0.4
    codes = np.random.default_rng(0).integers(0, 4, 600).astype(np.uint8)
    batch = rows_of(tokenizer, seed=7, fraction=fraction).batch(step, codes, np.array([300, 300]))
    draw = draw_masks(7, step, 600, fraction)
    firsts = np.arange(0, 600, 3)
    ids = torch.from_numpy(tokenizer.encode_codes(codes).astype(np.int64))
    inputs, targets = batch.input_ids.flatten(), batch.targets.flatten()
    chosen = torch.from_numpy(np.isin(firsts, draw.targets))
    assert torch.equal(targets != IGNORE, chosen)
    assert torch.equal(targets[chosen], ids[chosen])
    assert torch.equal(inputs[~chosen], ids[~chosen])
    hidden = torch.from_numpy(np.isin(firsts, draw.hidden))
    assert (inputs[hidden] == tokenizer.mask_id).all()
    assert (inputs[~hidden] != tokenizer.mask_id).all()


def test_replacements_are_ordinary_tokens_spread_over_the_vocabulary():
    tokenizer = KmerTokenizer(2)
    codes = np.random.default_rng(1).integers(0, 4, 60_000).astype(np.uint8)
    batch = rows_of(tokenizer, fraction=0.5).batch(0, codes, np.array([60_000]))
    inputs, targets = batch.input_ids[0].numpy(), batch.targets[0].numpy()
    chosen = targets != IGNORE
    assert chosen.mean() == pytest.approx(0.5, abs=0.01)
    hidden = inputs[chosen] == tokenizer.mask_id
    assert hidden.mean() == pytest.approx(0.8, abs=0.01)
    changed = inputs[chosen & (inputs != targets) & (inputs != tokenizer.mask_id)]
    # A tenth is replaced, by itself in one of 16 + 4 cases.
    assert len(changed) / chosen.sum() == pytest.approx(0.1 * 19 / 20, abs=0.01)
    assert {*texts(tokenizer, changed)} == {a + b for a in "ACGT" for b in "ACGT"} | {*"ACGT"}


def test_tokens_with_an_n_stay_as_they_are():
    for tokenizer in (KmerTokenizer(2), PAIRS):
        codes = encode("ACNGTNNAC" * 40)
        batch = rows_of(tokenizer, fraction=0.9).batch(0, codes, np.array([len(codes)]))
        unknown = tokenizer.encode_codes(encode("N"))[0]
        ids = torch.from_numpy(tokenizer.encode_codes(codes).astype(np.int64))
        where = ids == unknown
        assert (batch.input_ids[0][where] == unknown).all()
        assert (batch.targets[0][where] == IGNORE).all()
        assert (batch.targets[0][~where] != IGNORE).any()


def test_a_part_of_a_step_hides_what_the_whole_step_would():
    codes = np.random.default_rng(2).integers(0, 4, 400).astype(np.uint8)
    rows = rows_of(KmerTokenizer(4), fraction=0.5)
    whole = rows.batch(3, codes, np.array([200, 200]))
    part = rows.batch(3, codes[200:], np.array([200]), first_base=200)
    assert torch.equal(part.input_ids[0], whole.input_ids[1])
    assert torch.equal(part.targets[0], whole.targets[1])


def test_a_token_weighs_the_mean_of_its_bases():
    codes = encode("TACGACT")
    weights = np.array([1, 1, 0.1, 0.1, 0.1, 1, 1], dtype=np.float32)
    batch = rows_of(PAIRS).batch(0, codes, np.array([7]), base_weights=weights)
    assert batch.weights[0].tolist() == pytest.approx([1, 0.4, 0.55, 1])  # T ACG AC T
    following = rows_of(PAIRS, objective="next_token")
    batch = following.batch(0, codes, np.array([7]), base_weights=weights)
    assert batch.weights[0].tolist()[:3] == pytest.approx([0.4, 0.55, 1])  # of what is predicted


def test_followed_batches_hide_all_targets():
    rows = rows_of(PAIRS)
    hidden = np.zeros(7, dtype=bool)
    hidden[[1, 5]] = True  # begins ACG; within AC
    batch = rows.followed(encode("TACGACT"), np.array([7]), hidden)
    assert texts(PAIRS, batch.input_ids[0]) == ["T", "[MASK]", "AC", "T"]
    assert [t != IGNORE for t in batch.targets[0].tolist()] == [False, True, False, False]


@pytest.fixture(scope="module")
def genome():
    """Three chromosomes with repeats and N."""
    generator = np.random.default_rng(5)
    letters = {}
    for name in ("a", "b", "c"):
        bases = generator.choice([*"ACGTacgt"], 3000)
        bases[generator.integers(0, 3000, 20)] = "N"
        letters[name] = "".join(bases)
    return Genome.from_sequences(letters)


def module_of(genome, name):
    return GenomeDataModule(
        DataConfig(
            split=SplitSpec(valid=("c",), test=()),
            length=48,
            reverse_complement=True,
            repeats="downweight",
            tokenizer=name,
        ),
        LengthScheduleConfig(),
        tokens_per_step=480,
        total_steps=6,
        objective="masked",
        seed=1,
        genome=genome,
    )


@pytest.mark.parametrize("name", ["kmer-3", "bpe-60"])
def test_arms_read_the_same_bases_whatever_their_tokens(genome, name, monkeypatch, tmp_path):
    """Kept tokens and targets, put together, are the bases that the character arm sees."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ours, plain = module_of(genome, name), module_of(genome, "character")
    tokens = ours.tokens.tokenizer.tokens
    letters = plain.tokens
    assert letters is None
    characters = "??????? ACGTN".replace(" ", "")
    for batch, single in zip(ours.train_dataloader(), plain.train_dataloader(), strict=True):
        for number in range(len(batch.input_ids)):
            row = torch.where(batch.targets == IGNORE, batch.input_ids, batch.targets)[number]
            real = row[batch.attention_mask[number]] if batch.attention_mask is not None else row
            text = "".join(tokens[t] for t in real).replace("[UNK]", "N")
            seen = torch.where(single.targets == IGNORE, single.input_ids, single.targets)[number]
            assert text == "".join(characters[t] for t in seen)
    assert len(ours.val_dataloader()) == len(plain.val_dataloader())


class TestSingleBases:
    """Byte pairs of which single bases are hidden."""

    def test_by_hand(self):
        rows = rows_of(PAIRS, single=True)
        hidden = np.zeros(9, dtype=bool)
        hidden[[2, 4]] = True  # TA[C]GACGNT: the C of the first ACG; the A of the second is 4
        batch = rows.followed(encode("TACGACGNT"), np.array([9]), hidden)
        assert texts(PAIRS, batch.input_ids[0]) == [
            *("T", "A", "[MASK]", "G", "[MASK]", "C", "G", "[UNK]", "T")
        ]
        expected = [None, None, "C", None, "A", None, None, None, None]
        targets = batch.targets[0].tolist()
        assert [None if t == IGNORE else PAIRS.tokens[t] for t in targets] == expected

    def test_the_bases_are_those_of_the_character_arm(self):
        codes = np.random.default_rng(6).integers(0, 5, 400).astype(np.uint8)
        lengths = np.array([150, 250])
        batch = rows_of(PAIRS, seed=3, fraction=0.3, single=True).batch(2, codes, lengths)
        draw = draw_masks(3, 2, 400, 0.3)
        known = codes[draw.targets] < 4
        truth = "".join("ACGT"[code] for code in codes[draw.targets[known]])
        chosen = batch.targets != IGNORE
        assert "".join(texts(PAIRS, batch.targets[chosen])) == truth
        seen = texts(PAIRS, batch.input_ids[chosen])
        where = {place: number for number, place in enumerate(draw.targets[known].tolist())}
        masked = {where[place] for place in draw.hidden.tolist() if place in where}
        assert {number for number, text in enumerate(seen) if text == "[MASK]"} == masked
        for place, base in zip(draw.replaced.tolist(), draw.bases.tolist(), strict=True):
            assert place not in where or seen[where[place]] == "ACGT"[base]

    def test_a_part_of_a_step_and_weights(self):
        codes = encode("TACGACGT")
        rows = rows_of(PAIRS, fraction=0.4, single=True)
        weights = np.arange(1, 9, dtype=np.float32)
        whole = rows.batch(5, codes, np.array([4, 4]), base_weights=weights)
        part = rows.batch(5, codes[4:], np.array([4]), first_base=4, base_weights=weights[4:])
        real = whole.attention_mask[1] if whole.attention_mask is not None else slice(None)
        assert torch.equal(part.input_ids[0], whole.input_ids[1][real])
        assert torch.equal(part.weights[0], whole.weights[1][real])

    def test_what_cannot_be_set_apart(self):
        with pytest.raises(ConfigError, match="single bases can be set apart from byte pairs only"):
            DataConfig(tokenizer="kmer-6", mask_unit="base")
        with pytest.raises(ConfigError, match=r"data.mask_unit: unknown value 'word'"):
            DataConfig(mask_unit="word")
