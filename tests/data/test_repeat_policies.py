"""The contract of repeat policies: what training sees, base by base; what evaluation ignores."""

import itertools
import pickle
import re

import numpy as np
import pytest
import torch

from lightning_dna.data.batches import TrainingBatches, evaluation_batches
from lightning_dna.data.config import DataConfig
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.data.repeat_rows import JoinedStretches
from lightning_dna.data.sampler import LengthWarmupBatchSampler
from lightning_dna.data.source import open_repeats, training_windows
from lightning_dna.data.stream import Rows, WindowStream
from lightning_dna.data.windows import tile
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import as_intervals
from lightning_dna.genome.repeats import RepeatPolicy

POLICIES = ("keep", "remove-split", "remove-concat", "hard-mask", "downweight", "matched-unique")
LETTERS = "    \0  ACGTN"  # ids 7 to 11; 4 pads
PAIRS = str.maketrans("ACGTN", "TGCAN")


def sequence(seed: int, stretches: int = 24) -> str:
    """Draw stretches of upper and lower case and a few N."""
    rng = np.random.default_rng(seed)
    text = "".join(
        "".join(rng.choice([*letters], size=rng.integers(3, size)))
        for letters, size in [("ACGT", 90), ("acgt", 25)] * stretches
    )
    return text[:200] + "NNN" + text[200:500] + "nn" + text[500:]


SEQUENCES = {"a": sequence(1), "b": sequence(2), "v": sequence(3)}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Write the genome, and a BED file that calls every other repeat LINE/L1, the rest SINE."""
    folder = tmp_path_factory.mktemp("genome")
    fasta = folder / "g.fa"
    fasta.write_text("".join(f">{name}\n{text}\n" for name, text in SEQUENCES.items()))
    lines = [
        f"{name}\t{found.start()}\t{found.end()}\t{('LINE/L1', 'SINE')[rank % 2]}\n"
        for name, text in SEQUENCES.items()
        for rank, found in enumerate(re.finditer("[acgtn]+", text))
    ]
    (folder / "repeats.bed").write_text("".join(lines))
    return folder


def config_for(place, repeats: str, **changes) -> DataConfig:
    settings = {"length": 64, "repeat_min_length": 16, "max_n_fraction": 1.0} | changes
    bed = str(place / "repeats.bed") if "repeat_classes" in changes else None
    return DataConfig(genome=str(place / "g.fa"), repeats=repeats, repeat_bed=bed, **settings)


class Training:
    """The steps of a small training, as letters."""

    def __init__(self, config: DataConfig, objective: str = "masked", seed: int = 0) -> None:
        self.genome = Genome.open(config.genome, mask_bed=config.repeat_bed)
        self.repeats = open_repeats(config, self.genome)
        self.windows = training_windows(config, self.genome, ["a", "b"], self.repeats)
        stream = WindowStream(self.windows, seed=seed, reverse_complement=config.reverse_complement)
        self.sampler = LengthWarmupBatchSampler(
            stream,
            LengthScheduleConfig(kind="doubling", start=16, fraction=0.5),
            tokens_per_step=200,
            total_steps=40,
            final_length=config.length,
        )
        self.batches = TrainingBatches(
            self.genome, self.windows, config, objective=objective, seed=seed, repeats=self.repeats
        )

    def __iter__(self):
        for (item,) in self.sampler:
            yield self.batches[item]

    def rows(self) -> list[tuple[str, list[bool]]]:
        """Return the letters of every row of a next-token training, and where it has a target."""
        found = []
        for batch in self:
            for ids, targets in zip(batch.input_ids, batch.targets, strict=True):
                text = "".join(LETTERS[i] for i in ids).rstrip("\0")
                found.append((text, (targets[: len(text)] != -100).tolist()))
        return found


def either_strand(text: str) -> tuple[str, str]:
    return text, text[::-1].translate(PAIRS)


def treated(text: str, classes: bool) -> str:
    """Write what is treated as a repeat in lower case and everything else in upper case."""
    if not classes:
        return text
    ranks = iter(range(10**6))
    return re.sub("[acgtn]+", lambda m: m[0] if next(ranks) % 2 == 0 else m[0].upper(), text)


@pytest.mark.parametrize("classes", [False, True], ids=["all", "LINE"])
@pytest.mark.parametrize("policy", POLICIES)
def test_rows_hold_what_the_policy_says(place, policy, classes):
    changes = {"repeat_classes": ("LINE",)} if classes else {}
    config = config_for(place, policy, reverse_complement=True, **changes)
    texts = [treated(SEQUENCES[name], classes) for name in "ab"]
    allowed = {
        "keep": [text.upper() for text in texts],
        "downweight": [text.upper() for text in texts],
        "matched-unique": [text.upper() for text in texts],
        "remove-split": [part for text in texts for part in re.split("[acgtn]+", text)],
        "remove-concat": [re.sub("[acgtn]+", "", text) for text in texts],
        "hard-mask": [re.sub("[acgtn]", "N", text) for text in texts],
    }[policy]
    sources = "|".join(strand for text in allowed for strand in either_strand(text))
    rows = Training(config, objective="next_token").rows()
    assert len(rows) > 100
    assert all(text in sources for text, _ in rows)
    for text, has_target in rows:
        assert has_target == [letter != "N" for letter in text[1:]] + [False]


@pytest.mark.parametrize("classes", [False, True], ids=["all", "LINE"])
def test_downweighted_bases_are_the_repeats_treated(place, classes):
    changes = {"repeat_classes": ("LINE",)} if classes else {}
    training = Training(config_for(place, "downweight", repeat_weight=0.25, **changes))
    texts = [treated(SEQUENCES[name], classes) for name in "ab"]
    for (step, rows, _), batch in zip(
        [item for (item,) in training.sampler], training, strict=True
    ):
        assert step >= 0
        for row, weights in enumerate(batch.weights):
            chrom, start, end = (int(c[row]) for c in (rows.chrom_index, rows.starts, rows.ends))
            expected = [0.25 if letter.islower() else 1.0 for letter in texts[chrom][start:end]]
            assert weights[: end - start].tolist() == expected


def test_joined_windows_and_their_junctions(place):
    windows = Training(config_for(place, "remove-concat")).windows
    expected, junctions = [], 0
    for name in "ab":
        text = SEQUENCES[name]
        kept = [i for i, letter in enumerate(text) if letter.isupper()]
        for start in range(0, len(kept) - 63, 64):
            expected.append(f"{name}:joined:{start}-{start + 64}")
            window = kept[start : start + 64]
            junctions += sum(b - a > 1 for a, b in itertools.pairwise(window))
    assert windows.example_ids().tolist() == expected
    assert windows.junctions == junctions > 20
    lower = sum(letter.islower() for name in "ab" for letter in SEQUENCES[name])
    assert windows.removed_bases == lower


def test_n_counts_along_the_joined_sequence():
    genome = Genome.from_sequences({"a": "ACGTacgtNNNNacgtNNGGACGT"})
    found = tile(
        genome, ["a"], length=4, policy=RepeatPolicy(name="remove-concat"), max_n_fraction=0.5
    )
    # Joined: ACGT NNNN NNGG ACGT
    assert found.example_ids().tolist() == ["a:joined:0-4", "a:joined:8-12", "a:joined:12-16"]
    assert (found.dropped_n, found.dropped_bases, found.removed_bases) == (1, 4, 8)
    assert found.junctions == 0  # they lie between windows, at 4 and 8


def test_pieces_of_joined_rows_by_hand():
    joined = JoinedStretches([as_intervals([(2, 5), (7, 9), (20, 30)]), as_intervals([(1, 4)])])
    rows = Rows(
        chrom_index=np.array([0, 0, 1, 0], dtype=np.int32),
        starts=np.array([0, 1, 0, 3]),
        ends=np.array([3, 8, 2, 5]),
        flipped=np.array([False, True, False, True]),
    )
    pieces = joined.pieces(rows)
    found = list(zip(*(column.tolist() for column in pieces), strict=True))
    assert found == [
        (0, 2, 5, False),
        (0, 20, 23, True),
        (0, 7, 9, True),
        (0, 3, 5, True),
        (1, 1, 3, False),
        (0, 7, 9, True),
    ]


def test_hard_mask_drops_windows_of_nothing_but_repeats():
    genome = Genome.from_sequences({"a": "ACGTacgtacNNACgt"})
    found = tile(genome, ["a"], length=4, policy=RepeatPolicy(name="hard-mask"), max_n_fraction=0.5)
    assert found.example_ids().tolist() == ["a:0-4", "a:12-16"]
    assert found.dropped_n == 2


@pytest.mark.parametrize("policy", POLICIES)
def test_evaluation_never_depends_on_the_policy(place, policy):
    config, usual = config_for(place, policy), config_for(place, "keep")
    genome = Genome.open(config.genome)
    windows = tile(genome, ["v"], length=64, max_n_fraction=1.0)
    for objective in ("masked", "next_token"):
        batches, expected = (
            evaluation_batches(genome, windows, c, objective=objective, tokens=640)
            for c in (config, usual)
        )
        for one, other in zip(batches, expected, strict=True):
            assert torch.equal(one.input_ids, other.input_ids)
            assert torch.equal(one.targets, other.targets)
            assert one.weights is None


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_seed_gives_the_same_training_and_a_resumed_one_goes_on_in_it(place, policy):
    config = config_for(place, policy, reverse_complement=True)
    first, again = Training(config, seed=4), Training(config, seed=4)
    again.sampler.load_state_dict({"start_step": 25})
    again.batches = pickle.loads(pickle.dumps(again.batches))  # noqa: S301 - as a loader sends it
    for one, other in zip([*first][25:], [*again], strict=True):
        for name in ("input_ids", "targets", "weights", "attention_mask"):
            a, b = getattr(one, name), getattr(other, name)
            assert (a is None) == (b is None)
            assert a is None or torch.equal(a, b)


def test_the_control_has_a_seed_of_its_own(place):
    one, same, other = (
        Training(config_for(place, "matched-unique", repeat_seed=seed)).windows.example_ids()
        for seed in (0, 0, 1)
    )
    assert one.tolist() == same.tolist() != other.tolist()


def test_the_control_removes_as_many_bases_as_removal(place):
    counts = {
        policy: Training(config_for(place, policy)).windows.removed_bases
        for policy in ("remove-split", "matched-unique")
    }
    # Two soft-masked n stand in the genome; they are no bases that could be matched.
    lowercase_n = sum(SEQUENCES[name].count("n") for name in "ab")
    assert counts["matched-unique"] == counts["remove-split"] - lowercase_n > 0


class TestSettings:
    def test_both_spellings_of_removal_are_one(self, place):
        assert config_for(place, "remove-split") == config_for(place, "remove")
        assert RepeatPolicy(name="remove-split") == RepeatPolicy(name="remove")

    def test_classes_need_a_file(self):
        with pytest.raises(ConfigError, match=r"repeat_classes is \['LINE'\], but lower case"):
            DataConfig(repeats="downweight", repeat_classes=("LINE",))

    def test_the_order_of_classes_means_nothing(self, place):
        one, other = (
            config_for(place, "hard-mask", repeat_classes=c) for c in (("A", "B"), ("B", "A"))
        )
        assert one == other

    def test_unknown_class(self, place):
        with pytest.raises(ConfigError, match="unknown repeat class 'LTR'"):
            Training(config_for(place, "hard-mask", repeat_classes=("LTR",)))

    def test_classes_without_their_repeats(self):
        genome = Genome.from_sequences({"a": "ACgt"})
        with pytest.raises(ConfigError, match="no file says which class a repeat is"):
            tile(genome, ["a"], length=2, policy=RepeatPolicy(name="remove", classes=("LINE",)))

    def test_a_class_that_the_training_chromosomes_lack(self, place, tmp_path):
        bed = tmp_path / "v.bed"
        bed.write_text("v\t0\t9\tLINE\na\t3\t8\tSINE\n")
        config = DataConfig(
            genome=str(place / "g.fa"),
            repeats="hard-mask",
            repeat_bed=str(bed),
            repeat_classes=("LINE",),
            length=64,
        )
        with pytest.raises(DataError, match="no repeat of class LINE on a, b"):
            Training(config)

    @pytest.mark.parametrize("policy", ["remove-split", "matched-unique"])
    def test_fragments_longer_than_a_window(self, place, policy):
        with pytest.raises(ConfigError, match=r"repeat_min_length is 65, above data.length"):
            config_for(place, policy, repeat_min_length=65)

    @pytest.mark.parametrize("policy", [p for p in POLICIES if p != "keep"])
    def test_a_genome_without_repeats(self, policy):
        genome = Genome.from_sequences({"a": "ACGTACGTAC"})
        with pytest.raises(DataError, match="no base of the genome is soft-masked"):
            tile(genome, ["a"], length=4, policy=RepeatPolicy(name=policy))
