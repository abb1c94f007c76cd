"""The leakage audit against counts by hand and by Python sets, and the files that it reads."""

import gzip

import numpy as np
import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import encode
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.nearest import Places
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.tasks.audit_parts import (
    AuditPart,
    parts_of_card,
    read_audit_part,
    with_located,
)
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.chance_relatives import chance_similarity
from lightning_dna.tasks.leakage import audit_parts, joined_audits
from lightning_dna.tasks.locations import located_file
from lightning_dna.tasks.pretraining_overlap import with_pretraining
from lightning_dna.tasks.relations import LeakageSettings, Relations

COMPLEMENT = str.maketrans("ACGT", "TGCA")
PARTS = ("train", "test")
K = 8


def letters(seed, length=60):
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def back(text):
    return text[::-1].translate(COMPLEMENT)


def part(name, rows, places=None):
    """A part from (sequence, label) rows."""
    return AuditPart(
        name=name,
        ids=tuple(f"{name}:{at}" for at in range(len(rows))),
        labels=np.array([label for _, label in rows]),
        codes=[encode(text) for text, _ in rows],
        places=None if places is None else Places.of(places),
    )


def count(audit, part, against, label="all"):
    (row,) = [
        row for row in audit.rows if (row.part, row.against, row.label) == (part, against, label)
    ]
    return row


@pytest.fixture
def task():
    """A, B, C, ... are unrelated sequences."""
    a, b, c, d, e, f = (letters(seed) for seed in range(6))
    return {
        "train": part("train", [(a, "0"), (a, "1"), (b, "1"), (back(b), "1"), (c, "0")]),
        "valid": part("valid", [(d, "0"), (e, "1")]),
        "test": part(
            "test",
            [
                (a, "0"),  # a copy, and the other label stands there too
                (back(c), "0"),  # a copy of the other strand
                (c[:30] + f[:30], "1"),  # half of it
                (d[:10] + f[:50], "0"),  # a little of a validation sequence
                (letters(9), "1"),
            ],
        ),
    }


SETTINGS = LeakageSettings(k=K, threshold=0.3)


def test_copies_and_conflicts_by_hand(task):
    audit = audit_parts("t", task, SETTINGS)
    test = count(audit, "test", "train")
    assert test.examples == 5
    assert dict(test.counts) == {
        "copies": 2,
        "other_strand": 1,
        "conflicts": 1,
        "similar": 3,
        "clustered": 4,  # also the second half that two test sequences share
    }
    assert test.share("similar") == 3 / 5
    own = count(audit, "train", "train")
    assert dict(own.counts) == {"copies": 2, "other_strand": 1, "conflicts": 1}
    assert count(audit, "valid", "train").counts["similar"] == 0
    assert count(audit, "test", "train", "1").counts == {
        "copies": 0,
        "other_strand": 0,
        "conflicts": 0,
        "similar": 1,
        "clustered": 1,
    }


def test_one_strand_by_hand(task):
    settings = LeakageSettings(k=K, threshold=0.3, both_strands=False)
    audit = audit_parts("t", task, settings)
    assert dict(count(audit, "test", "train").counts) == {
        "copies": 1,
        "other_strand": 0,
        "conflicts": 1,
        "similar": 2,
        "clustered": 3,
    }
    # Of the training part one sequence comes twice as it is, and one on either strand.
    assert count(audit, "train", "train").counts["copies"] == 1


def test_chance_is_what_unrelated_sequences_show():
    """Shuffled and unrelated sequences of equal composition reach a threshold alike."""
    rows = {name: [(letters(seed), "0") for seed in range(a, b)] for name, a, b in
            (("train", 1000, 1400), ("test", 2000, 2600))}  # fmt: skip
    parts = {name: part(name, some) for name, some in rows.items()}
    settings = LeakageSettings(k=10, threshold=0.03)
    found = chance_similarity(parts["test"], "train", Relations.of(parts, settings))
    unrelated = count(audit_parts("t", parts, settings), "test", "train").share("similar")
    assert 0.05 < unrelated < 0.95
    error = np.sqrt(2 * unrelated * (1 - unrelated) / 600)
    assert abs((found >= 0.03).mean() - unrelated) < 4 * error


def test_what_the_note_on_chance_says():
    # Letters that can be put in one order only: shuffled, they are what they were.
    repeats = [("AC" * 20, "0"), ("A" * 30, "1"), ("GT" * 19, "0"), ("N" * 40, "0"), ("ACG", "1")]
    train = part("train", [("AC" * 30, "0"), ("G" * 30, "1")])
    (note,) = [n for n in audit_parts("t", {"train": train, "test": part("test", repeats)},
                                      SETTINGS).notes if "shuffled" in n]  # fmt: skip
    assert note == (
        "t: with shuffled letters (dinucleotides kept), 66.7% of 3 test sequences are similar to "
        "one in train, by chance; no threshold changes that. Runs of few letters hold the same "
        "words after shuffling, so that likeness of such sequences says little of common descent."
    )
    short = {"train": train, "test": part("test", repeats[3:])}
    assert not any("shuffled" in one for one in audit_parts("t", short, SETTINGS).notes)
    apart = {"train": train, "test": part("test", [(letters(3), "0")] * 40)}
    notes = audit_parts("t", apart, SETTINGS).notes
    assert any("at a threshold of 0.005 it would be 0.0%" in one for one in notes)
    # Some words of a run outlive the shuffle, not all: a higher threshold tells them apart.
    half = {"train": train, "test": part("test", [("AC" * 8 + "C" * 14, "0")] * 40)}
    low = LeakageSettings(k=K, threshold=0.02)
    (note,) = [one for one in audit_parts("t", half, low).notes if "shuffled" in one]
    offered = note.partition("at a threshold of ")[2]
    assert float(offered.partition(" ")[0]) > low.threshold
    assert float(offered.partition("it would be ")[2].partition("%")[0]) <= 1.0
    assert "Runs of few letters" in note


def test_the_table_of_examples(task):
    audit = audit_parts("t", task, SETTINGS)
    frame = audit.examples[audit.examples["part"] == "test"].reset_index(drop=True)
    assert frame["copy"].tolist() == [True, True, False, False, False]
    assert frame["copy_other_strand"].tolist() == [False, True, False, False, False]
    assert frame["label_conflict"].tolist() == [True, False, False, False, False]
    assert frame["similarity"].tolist()[:2] == [1.0, 1.0]
    assert frame["similarity"][2] == pytest.approx(23 / 53)  # 30 - 8 + 1 of 60 - 8 + 1 k-mers
    assert frame["most_similar"].tolist()[:3] == ["train:0", "train:4", "train:4"]
    assert len(audit.examples) == 2 + 5
    assert set(audit.examples["against"]) == {"train"}


def test_without_labels_nothing_is_said_of_conflicts(task):
    bare = {
        name: part(name, [("".join("ACGT"[c] for c in one), "") for one in old.codes])
        for name, old in task.items()
    }
    audit = audit_parts("t", bare, SETTINGS)
    assert "conflicts" not in count(audit, "test", "train").counts
    assert {row.label for row in audit.rows} == {"all"}


def test_clusters_and_sequences_without_kmers_are_told(task):
    task["test"] = part("test", [("ACG", "0"), (letters(5), "1")])
    notes = audit_parts("t", task, SETTINGS).notes
    assert (
        notes[0]
        == "t: 7 clusters among 9 sequences (8-mers, containment 0.3); the largest holds 2."
    )
    assert "1 sequences have no 8-mer" in notes[1]


def test_a_giant_cluster_is_a_warning():
    shared = letters(1, 80)
    rows = [(shared[at : at + 60], "0") for at in range(12)]
    audit = audit_parts("t", {"train": part("train", rows), "test": part("test", rows[:3])})
    assert any("WARNING: one cluster holds 100%" in note for note in audit.notes)


def test_train_that_is_test_is_a_warning(task):
    same = {"train": task["train"], "test": part("test", [(letters(0), "0")])}
    assert any("are the two files the same?" in note for note in audit_parts("t", same).notes)


def test_places_by_hand():
    train = part("train", [("ACGT", "0"), ("ACGT", "1")], [("I", 100, 200), ("II", 0, 50)])
    test = part(
        "test",
        [("ACGT", "0"), ("ACGT", "1"), ("ACGT", "0"), ("ACGT", "0")],
        [("I", 199, 300), ("I", 150, 160), ("I", 1_199, 1_300), None],
    )
    row = count(audit_parts("t", {"train": train, "test": test}), "test", "train")
    assert (row.examples, row.placed) == (4, 3)
    places = {name: row.counts[name] for name in ("overlap", "same_label", "near", "nearby")}
    # 199 to 300 has one base in common; 1,199 lies 999 bases after the end of 100 to 200.
    assert places == {"overlap": 2, "same_label": 1, "near": 3, "nearby": 3}
    assert row.share("overlap") == 2 / 3
    assert row.counts["identical"] == 0


def test_files_without_a_chromosome_in_common_are_told():
    train = part("train", [("ACGT", "0")], [("1", 0, 50)])
    test = part("test", [("ACGT", "0")], [("chr1", 0, 50)])
    notes = audit_parts("t", {"train": train, "test": test}).notes
    assert any("share no chromosome" in note for note in notes)


def test_too_little_to_audit(task):
    with pytest.raises(DataError, match="train is at hand; an audit needs two parts"):
        audit_parts("t", {"train": task["train"]})
    with pytest.raises(DataError, match="the test part is empty"):
        audit_parts("t", {"train": task["train"], "test": part("test", [])})
    places = AuditPart(
        name="test", ids=("a",), labels=np.array([""]), places=Places.of([("I", 0, 5)])
    )
    with pytest.raises(DataError, match="some parts hold sequences and others only places"):
        audit_parts("t", {"train": task["train"], "test": places})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 40}, "k is 40"),
        ({"threshold": 0.0}, "threshold is 0"),
        ({"max_occurrences": 0}, "is 0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        LeakageSettings(**settings)


def test_pretraining_by_place_and_by_kmers():
    chroms = {"I": letters(1, 400), "II": letters(2, 400), "III": letters(3, 400)}
    genome = Genome.from_sequences(chroms)
    rows = [
        (chroms["I"][50:110], "0"),
        (back(chroms["III"][50:110]), "1"),
        (chroms["I"][200:240] + letters(8, 20), "0"),
        (letters(9), "1"),
    ]
    parts = {"train": part("train", [(letters(7), "0")]), "test": part("test", rows)}
    split = ChromosomeSplit(train=("I", "II"), valid=(), test=("III",))
    audit = with_pretraining(audit_parts("t", parts, SETTINGS), "t", parts, genome, split)
    assert dict(count(audit, "test", "pretraining train").counts) == {"copies": 1, "similar": 2}
    assert dict(count(audit, "test", "pretraining test").counts) == {"copies": 1, "similar": 1}
    assert audit.examples["pretraining_part"].tolist() == ["train", "test", "", ""]
    assert audit.examples["pretraining_similarity"].tolist()[:2] == [1.0, 0.0]
    assert len(joined_audits([audit, audit]).rows) == 2 * len(audit.rows)


def test_pretraining_needs_sequences():
    places = AuditPart(
        name="test", ids=("a",), labels=np.array([""]), places=Places.of([("I", 0, 5)])
    )
    parts = {"train": places, "test": places}
    genome = Genome.from_sequences({"I": "ACGTACGTACGT"})
    split = ChromosomeSplit(train=("I",), valid=(), test=())
    with pytest.raises(DataError, match="--pretraining needs sequences"):
        with_pretraining(audit_parts("t", parts), "t", parts, genome, split)


def test_places_are_found_in_a_genome(tmp_path):
    chroms = {"I": letters(1, 300), "II": letters(2, 300)}
    rows = [(chroms["II"][40:90], "0"), (letters(9), "1"), (back(chroms["I"][:50]), "0")]
    found, known = with_located(part("test", rows), Genome.from_sequences(chroms))
    assert known == 2
    assert found.places.chrom.tolist() == ["II", "", "I"]
    assert found.places.start.tolist() == [40, 0, 0]
    kept, known = with_located(part("test", rows, [("I", 1, 2), None, None]), None)
    assert (kept.places.end.tolist()[0], known) == (2, 1)
    none, known = with_located(part("test", rows[1:2]), Genome.from_sequences(chroms))
    assert (known, none.places.known.tolist()) == (0, [False])


class TestFiles:
    def test_csv_with_and_without_labels(self, tmp_path):
        (tmp_path / "a.csv").write_text("sequence,label\nACGT,x\nacgn,y\n")
        found = read_audit_part(tmp_path / "a.csv", "test")
        assert found.labels.tolist() == ["x", "y"]
        assert [one.tolist() for one in found.codes] == [[0, 1, 2, 3], [0, 1, 2, 4]]
        with gzip.open(tmp_path / "b.csv.gz", "wt") as handle:
            handle.write("sequence\nACGT\n")
        assert read_audit_part(tmp_path / "b.csv.gz", "test").labels.tolist() == [""]

    def test_fasta(self, tmp_path):
        (tmp_path / "a.fa").write_text(">one|1\nAC\nGT\n>two\nAA\n")
        found = read_audit_part(tmp_path / "a.fa", "test")
        assert (found.ids, found.labels.tolist()) == (("one|1", "two"), ["1", ""])
        assert [len(one) for one in found.codes] == [4, 2]

    def test_intervals_without_their_genome(self, tmp_path):
        (tmp_path / "a.csv").write_text("id,region,start,end,strand\n7,chr1,5,9,+\n")
        found = read_audit_part(tmp_path / "a.csv", "test")
        assert (found.ids, found.codes) == (("7",), None)
        assert (found.places.chrom[0], found.places.start[0], found.places.end[0]) == ("chr1", 5, 9)

    def test_a_folder_of_intervals_by_class(self, tmp_path):
        for label in ("negative", "positive"):
            text = f"id,region,start,end,strand\n0,chr1,5,{8 + len(label)},+\n"
            (tmp_path / f"{label}.csv").write_text(text)
        found = read_audit_part(tmp_path, "test")
        assert found.labels.tolist() == ["negative", "positive"]
        assert found.places.end.tolist() == [16, 16]

    def test_intervals_with_their_genome_are_sequences(self, tmp_path):
        folder = tmp_path / "train"
        folder.mkdir()
        (folder / "a.csv").write_text("id,region,start,end,strand\n0,chr1,1,4,-\n")
        (tmp_path / "g.fa").write_text(">1\nAACGT\n")
        found = read_audit_part(folder, "train", genome=tmp_path / "g.fa")
        assert found.codes[0].tolist() == encode("CGT").tolist()
        (folder / "a.csv").write_text("id,region,start,end,strand\n0,chr1,1,9,-\n")
        with pytest.raises(DataError, match="is this the reference that the"):
            read_audit_part(folder, "train", genome=tmp_path / "g.fa")

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("a.csv", "sequence,label\nAC!T,0\n", "line 2: .*is not a nucleotide letter"),
            ("a.csv", "region,start,end\nchr1,9,5\n", "9 to 5; expected start < end"),
            ("a.csv", "region,start,end\nchr1,x,5\n", "'x'; expected a whole number"),
            ("a.fa", "ACGT\n", "its first line is no header"),
            ("a.fa", "\n", "holds no sequence"),
        ],
    )
    def test_what_is_refused(self, tmp_path, name, text, message):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=message):
            read_audit_part(tmp_path / name, "test")

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(DataError, match="does not exist; give a file or folder"):
            read_audit_part(tmp_path / "none.csv", "test")

    def test_intervals_cannot_be_located(self, tmp_path):
        (tmp_path / "a.csv").write_text("region,start,end\nchr1,2,5\n")
        with pytest.raises(DataError, match="nothing to locate"):
            located_file(tmp_path / "a.csv", Genome.from_sequences({"I": "ACGT"}), k=31)


def test_parts_of_a_card_that_lacks_a_file(tmp_path):
    (tmp_path / "dev.csv").write_text("sequence,label\nACGT,0\n")
    (tmp_path / "test.csv").write_text("sequence,label\nACGT,1\nAAAA,0\n")
    files = {"train": "train.csv", "valid": "dev.csv", "test": "test.csv"}
    card = TaskCard(name="t", kind="classification", title="x", files=files)
    parts, missing = parts_of_card(card, tmp_path)
    assert {name: len(one) for name, one in parts.items()} == {"valid": 1, "test": 2}
    assert missing == "train (train.csv)"
    assert parts["test"].ids == ("test:0", "test:1")


def test_parts_of_one_file_and_of_a_simulated_card(tmp_path):
    (tmp_path / "all.csv").write_text("sequence,label,split\nACGT,0,dev\nAAAA,1,test\n")
    card = TaskCard(name="t", kind="classification", title="x", files={"all": "all.csv"})
    assert set(parts_of_card(card, tmp_path)[0]) == {"valid", "test"}
    card = TaskCard(
        name="t",
        kind="simulated_classification",
        title="x",
        simulated="promoter",
        n_train=20,
        n_valid=8,
        n_test=8,
        length=96,
    )
    assert {name: len(one) for name, one in parts_of_card(card, None)[0].items()} == {
        "train": 20,
        "valid": 8,
        "test": 8,
    }


@pytest.mark.data
def test_published_overlaps_of_genomic_benchmarks(data_folder):
    """The counts of another program, from the same interval files."""
    root = data_folder / "genomic-benchmarks" / "coordinates" / "human_nontata_promoters"
    parts = {name: read_audit_part(root / name, name) for name in ("train", "test")}
    row = count(audit_parts("t", parts), "test", "train")
    shares = [
        round(100 * row.share(name), 1) for name in ("overlap", "same_label", "near", "nearby")
    ]
    assert (row.examples, shares) == (9_034, [49.2, 49.2, 57.1, 65.2])
    assert row.counts["identical"] == 0


@pytest.mark.data
def test_published_copies_of_gue(data_folder):
    """Copies in training of the dev and test files, counted with another program (STATS.tsv)."""
    root = data_folder / "gue" / "GUE" / "prom" / "prom_core_tata"
    files = {"train": "train", "valid": "dev", "test": "test"}
    parts = {name: read_audit_part(root / f"{stem}.csv.gz", name) for name, stem in files.items()}
    audit = audit_parts("t", parts)
    assert count(audit, "valid", "train").counts["copies"] == 8
    assert count(audit, "test", "train").counts["copies"] == 16
    assert count(audit, "train", "train").counts["copies"] == 57


@pytest.mark.data
def test_reversed_twins_of_a_published_random_split(data_folder):
    """The names of the sequences say which are reverse complements of each other."""
    root = data_folder / "hashfrag-mpra"
    parts = {name: read_audit_part(root / f"example_{name}_split.fa.gz", name) for name in PARTS}
    names = set(parts["train"].ids)
    twins = {
        one
        for one in parts["test"].ids
        if (one.removesuffix("_Reversed") if "_Reversed" in one else f"{one}_Reversed") in names
    }
    audit = audit_parts("t", parts)
    frame = audit.examples
    assert twins <= set(frame.loc[frame["copy_other_strand"], "example_id"])
    assert len(twins) > 1_000
