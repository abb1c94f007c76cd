"""The layouts in which labelled sequences are published: what is read, and what is refused."""

import csv
import gzip
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightning_dna.data.examples import Examples
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import decode, encode, reverse_complement
from lightning_dna.genome.intervals import Interval
from lightning_dna.tasks.card import Carve, TaskCard
from lightning_dna.tasks.examples import load_examples
from lightning_dna.tasks.labelled_files import folder_sum
from lightning_dna.tasks.layouts.intervals import read_intervals, record_names
from lightning_dna.tasks.layouts.places import named_place

CARVE = Carve(fraction=0.25)


def card_of(ending: str = "fna", **settings) -> TaskCard:
    files = {part: f"{part}.{ending}" for part in ("train", "valid", "test")}
    return TaskCard(
        **{"name": "toy", "kind": "classification", "title": "T", "files": files} | settings
    )


def letters(part) -> list[str]:
    return [decode(codes) for codes in part.codes]


def refusal(card: TaskCard, folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_examples(card, folder)
    return str(caught.value)


def write_fasta(folder: Path, **parts: str) -> None:
    for part, base in (("train", "A"), ("valid", "C"), ("test", "G")):
        text = parts.get(part, f">x|0\n{base}{base}T\n>y|1\n{base}TT\n")
        (folder / f"{part}.fna").write_text(text)


class TestFasta:
    def test_headers_lines_and_labels(self, tmp_path):
        write_fasta(tmp_path, train=">pos_1|1\nACGT\nac\n\n>a|b|0\nTTTT\n")
        task = load_examples(card_of(layout="fasta"), tmp_path)
        assert letters(task.train) == ["ACGTAC", "TTTT"]
        assert task.train.labels.tolist() == [1, 0]
        assert task.train.ids == ("train:0", "train:1")  # names may repeat, so they are no ids

    def test_gzip_and_the_ending_alone(self, tmp_path):
        write_fasta(tmp_path)
        packed = gzip.compress((tmp_path / "test.fna").read_bytes())
        (tmp_path / "test.fna").unlink()
        (tmp_path / "test.fna.gz").write_bytes(packed)
        assert letters(load_examples(card_of(), tmp_path).test) == ["GGT", "GTT"]

    def test_coordinates_in_names(self, tmp_path):
        write_fasta(tmp_path, train=">chr1:10-13|0\nACG\n>chrX:5-7(-)|1\nTTT\n>other|0\nAAA\n")
        task = load_examples(card_of(), tmp_path)
        assert task.train.coordinates == (
            Interval("chr1", 10, 13, "."),  # counts from 0: three bases
            Interval("chrX", 4, 7, "-"),  # counts from 1: three bases, too
            None,
        )
        assert task.test.coordinates is None

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (">a 0\nAC\n>b|1\nAC\n>c\nAC\n", "column 'label', line 1, 5: the header 'a 0' has no"),
            (">a|\nAC\n", "has no label; expected '>name|label'"),
            ("ACGT\n>a|0\nAC\n", "line 1: 'ACGT' stands before the first header"),
            ("\n\n", "holds no record"),
            (">a|0\nAC\n>b|1\n>c|1\nGG\n", "column 'sequence', line 3: the sequence is empty"),
            (">a|0\nAC\n>b|1\nA-G\n", "column 'sequence', line 3: character '-' at position 1"),
            (">a|0\nAC\n>b|two\nAG\n", "column 'label', line 3: 'two' is not an integer"),
        ],
    )
    def test_refused(self, tmp_path, text, message):
        write_fasta(tmp_path, train=text)
        found = refusal(card_of(), tmp_path)
        assert "train.fna" in found
        assert message in found

    def test_longer_than_the_card_allows(self, tmp_path):
        write_fasta(tmp_path, test=">a|0\nACGT\n>b|1\nACGTA\n")
        found = refusal(card_of(sequence_length=4), tmp_path)
        assert "test.fna, column 'sequence', line 3: 5 bases, above the card's" in found


def test_a_name_says_from_where_it_counts_by_its_length():
    assert named_place("chr2:100-104", 4) == Interval("chr2", 100, 104, ".")
    assert named_place("chr2:101-104", 4) == Interval("chr2", 100, 104, ".")
    assert named_place("chr2:101-104(+) more", 4) == Interval("chr2", 100, 104, "+")
    assert named_place("chr2:100-110", 4) is None
    assert named_place("chr2:0-3", 4) is None  # cannot count from 1
    assert named_place("promoter", 4) is None


class TestParquet:
    def write(self, path: Path, sequences, labels, **columns) -> None:
        table = {"sequence": sequences, "name": [f"n{i}" for i in labels], "label": labels}
        pq.write_table(pa.table(table | columns), path)

    def write_all(self, folder: Path) -> None:
        self.write(folder / "train.parquet", ["AAC", "AAG", "AAT"], [0, 1, 2])
        self.write(folder / "valid.parquet", ["CAC", "CAG", "CAT"], [0, 1, 2])
        self.write(folder / "test.parquet", ["GAC", "GAG", "GAT"], [2, 1, 0])

    def test_columns_as_hugging_face_serves_them(self, tmp_path):
        self.write_all(tmp_path)
        task = load_examples(card_of("parquet", layout="parquet"), tmp_path)
        assert letters(task.test) == ["GAC", "GAG", "GAT"]
        assert task.test.labels.tolist() == [2, 1, 0]
        assert task.classes == ("0", "1", "2")

    def test_stands_in_for_the_fasta_file_that_a_card_names(self, tmp_path):
        self.write_all(tmp_path)
        assert letters(load_examples(card_of("fna", layout="fasta"), tmp_path).train)[0] == "AAC"

    def test_labels_as_floats_and_as_text(self, tmp_path):
        self.write_all(tmp_path)
        pq.write_table(
            pa.table({"seq": ["AA", "AC", "AG"], "label": [0.0, 1.0, 2.0]}),
            tmp_path / "train.parquet",
        )
        task = load_examples(card_of("parquet"), tmp_path)
        assert task.train.labels.tolist() == [0, 1, 2]

    def test_a_missing_value(self, tmp_path):
        self.write_all(tmp_path)
        self.write(tmp_path / "train.parquet", ["AAC", None], [0, 1])
        found = refusal(card_of("parquet"), tmp_path)
        assert "train.parquet, column 'sequence', row 2: the value is missing" in found

    def test_damaged_columns_and_rows(self, tmp_path):
        self.write_all(tmp_path)
        whole = (tmp_path / "train.parquet").read_bytes()
        (tmp_path / "train.parquet").write_bytes(whole[: len(whole) // 2])
        assert "as Parquet" in refusal(card_of("parquet"), tmp_path)
        pq.write_table(pa.table({"dna": ["A"], "label": [0]}), tmp_path / "train.parquet")
        assert "missing columns: sequence; found: dna" in refusal(card_of("parquet"), tmp_path)
        self.write(tmp_path / "train.parquet", pa.array([], pa.string()), pa.array([], pa.int64()))
        assert "has no row" in refusal(card_of("parquet"), tmp_path)


class TestSharedTable:
    """One table of all tasks: ``sequence, name, label, task``, as Hugging Face serves them."""

    def card(self, task: str = "H3", **settings) -> TaskCard:
        files = {part: f"suite/{task}/{part}.fna" for part in ("train", "valid", "test")}
        return card_of(layout="fasta", files=files, **settings)

    def write(self, folder: Path, name: str, base: str, tasks: list[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        sequences = [base + "ACGT"[row % 4] + "ACGT"[row // 4] for row in range(len(tasks))]
        table = {"sequence": sequences, "label": [row % 2 for row in range(len(tasks))]}
        table |= {"name": ["x"] * len(tasks), "task": tasks}
        pq.write_table(pa.table(table), folder / name)

    def suite(self, folder: Path) -> Path:
        for part, base in (("train", "A"), ("valid", "C"), ("test", "G")):
            tasks = ["H3", "H3", "H4", "H4", "H3"]
            self.write(folder / "suite" / "data", f"{part}-00000-of-00001.parquet", base, tasks)
        return folder

    def test_the_rows_of_the_task_alone(self, tmp_path):
        folder = self.suite(tmp_path)
        assert letters(load_examples(self.card(), folder).train) == ["AAA", "ACA", "AAC"]
        assert letters(load_examples(self.card("H4"), folder).test) == ["GGA", "GTA"]

    def test_a_table_in_pieces(self, tmp_path):
        folder = self.suite(tmp_path)
        data = folder / "suite" / "data"
        (data / "train-00000-of-00001.parquet").unlink()
        self.write(data, "train-00000-of-00002.parquet", "T", ["H4", "H3", "H3"])
        assert "lacks train-00001-of-00002.parquet of the 2 pieces" in refusal(self.card(), folder)
        self.write(data, "train-00001-of-00002.parquet", "A", ["H3", "H4"])
        assert letters(load_examples(self.card(), folder).train) == ["TCA", "TGA", "AAA"]

    def test_a_file_of_its_own_comes_first_and_keeps_its_checksum(self, tmp_path):
        folder = self.suite(tmp_path)
        (folder / "suite" / "H3").mkdir()
        text = ">x|0\nTTT\n>y|1\nTTA\n"
        (folder / "suite" / "H3" / "train.fna").write_text(text)
        found = hashlib.sha256(text.encode()).hexdigest()
        card = self.card(sha256={"train": found, "test": "0" * 64})
        assert letters(load_examples(card, folder).train) == ["TTT", "TTA"]

    def test_an_unknown_task_and_tasks_that_would_be_mixed(self, tmp_path):
        folder = self.suite(tmp_path)
        found = refusal(self.card("H5"), folder)
        assert "column 'task': H3, H4; none of them is 'H5'" in found
        assert "FOLDER/TASK/train.parquet" in found
        for part in ("train", "valid", "test"):
            self.write(folder, f"{part}.parquet", "A", ["H3", "H4"])
        assert "column 'task': H3, H4" in refusal(card_of("parquet"), folder)

    def test_a_damaged_table(self, tmp_path):
        folder = self.suite(tmp_path)
        (folder / "suite" / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR1")
        assert "as Parquet" in refusal(self.card(), folder)


class TestClassesOfSequences:
    def write(self, folder: Path, n: int = 8) -> None:
        for part, first in (("train", "A"), ("test", "C")):
            for name, last in (("negative", "G"), ("positive", "T")):
                place = folder / "task" / part / name
                place.mkdir(parents=True)
                for index in range(n):
                    body = format(index, "03b").replace("0", "A").replace("1", "C")
                    (place / f"{index}.txt").write_text(f"{first}{body}{last}\n")

    def card(self, **settings) -> TaskCard:
        files = {"train": "task/train", "test": "task/test"}
        return card_of(**{"layout": "classes", "files": files, "carve": CARVE} | settings)

    def test_one_sequence_to_a_file(self, tmp_path):
        self.write(tmp_path)
        task = load_examples(self.card(labels=("negative", "positive")), tmp_path)
        assert task.classes == ("negative", "positive")
        assert letters(task.test)[:2] == ["CAAAG", "CAACG"]
        assert task.test.labels.tolist() == [0] * 8 + [1] * 8
        assert task.test.ids[0] == "test:negative/0"
        assert (len(task.train), len(task.valid)) == (12, 4)
        assert load_examples(self.card(), tmp_path).classes == task.classes

    def test_class_names_that_do_not_match(self, tmp_path):
        self.write(tmp_path)
        found = refusal(self.card(labels=("enhancer", "positive")), tmp_path)
        assert "train: classes found: negative, positive; expected: enhancer, positive" in found
        assert "correct 'labels'" in found

    def test_an_empty_class(self, tmp_path):
        self.write(tmp_path)
        for path in (tmp_path / "task" / "test" / "positive").glob("*.txt"):
            path.unlink()
        assert "positive holds no .txt file" in refusal(self.card(), tmp_path)

    def test_a_wrong_letter_names_the_file(self, tmp_path):
        self.write(tmp_path)
        (tmp_path / "task" / "test" / "positive" / "3.txt").write_text("AC>T")
        assert "file positive/3.txt: character '>' at" in refusal(self.card(), tmp_path)

    def test_no_part_is_a_table(self):
        with pytest.raises(ConfigError, match="layout 'classes' has a folder for each part"):
            card_of(layout="classes", files={"all": "x"})


GENOME = {"1": "ACGTACGTAACCGGTTNACG" * 3, "MT": "TTTTACGTCCCCGGGG"}


class TestClassesOfIntervals:
    def write(self, folder: Path, **changed: str) -> None:
        fasta = "".join(f">{name} about it\n{bases}\n" for name, bases in GENOME.items())
        (folder / "ref").mkdir(exist_ok=True)
        (folder / "ref" / "genome.fa").write_text(fasta)
        for part, shift in (("train", 0), ("test", 7)):
            place = folder / part
            place.mkdir(exist_ok=True)
            rows = [f"{i},chr1,{i + shift},{i + shift + 6},{'+-'[i % 2]}" for i in range(8)]
            rows.append(f"m,chrM,{shift},{shift + 4},")
            for name in ("negative", "positive"):
                text = "id,region,start,end,strand\n" + "\n".join(rows) + "\n"
                text = changed.get(f"{part}_{name}", text)
                (place / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))

    def card(self, **settings) -> TaskCard:
        content = {
            "layout": "classes",
            "files": {"train": "train", "test": "test"},
            "labels": ("negative", "positive"),
            "reference": "ref/genome.fa",
            "carve": CARVE,
        }
        return card_of(**content | settings)

    def test_both_strands_and_names_without_chr(self, tmp_path):
        self.write(tmp_path)
        test = load_examples(self.card(), tmp_path).test
        assert len(test) == 18
        assert letters(test)[0] == "TAACCG"  # chr1:7-13
        assert letters(test)[1] == "CCGGTT"  # the other strand of AACCGG, chr1:8-14
        assert letters(test)[8] == "TCCC"  # chrM:7-11, without a strand
        assert test.coordinates[1] == Interval("1", 8, 14, "-")
        assert test.coordinates[8] == Interval("MT", 7, 11, ".")

    def test_the_chromosome_as_the_unit(self, tmp_path):
        self.write(tmp_path)
        files = {"train": "train", "valid": "test", "test": "test"}
        card = self.card(unit="chromosome", files=files, carve=None)
        test = load_examples(card, tmp_path).test
        assert set(test.cluster_ids) == {"1", "MT"}

    def test_a_reference_for_each_class(self, tmp_path):
        self.write(tmp_path)
        (tmp_path / "other.fa").write_text(">chr1\n" + "G" * 60 + "\n>chrM\nAAAAAAAAAAAA\n")
        both = {"negative": "ref/genome.fa", "positive": "other.fa"}
        test = load_examples(self.card(reference=both), tmp_path).test
        assert letters(test)[9] == "GGGGGG"
        assert letters(test)[17] == "AAAA"

    def test_a_missing_reference_is_named_before_anything_is_read(self, tmp_path):
        self.write(tmp_path)
        found = refusal(self.card(reference="nowhere.fa"), tmp_path)
        assert "holds intervals, but their reference is not here" in found

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ("a,chr7,1,5,+", "column 'region', line 2: 'chr7' is no record of"),
            ("a,chr1,1,500,+", "column 'end', line 2: 1 to 500 does not lie within '1' of 60"),
            ("a,chr1,5,5,+", "5 to 5 does not lie within"),
            ("a,chr1,-1,5,+", "column 'start', line 2: '-1' to '5'; expected two whole numbers"),
            ("a,chr1,1,5,x", "column 'strand', line 2: 'x'; allowed: '+', '-', '.' or nothing"),
        ],
    )
    def test_refused(self, tmp_path, rows, message):
        self.write(tmp_path, train_negative=f"id,region,start,end,strand\n{rows}\n")
        found = refusal(self.card(), tmp_path)
        assert "negative.csv.gz" in found
        assert message in found

    def test_a_file_without_the_columns(self, tmp_path):
        self.write(tmp_path, train_negative="id,chrom,start,end\na,chr1,1,5\n")
        assert "missing columns: region, strand" in refusal(self.card(), tmp_path)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"layout": "csv"}, "reference has no meaning for layout 'csv'"),
            ({"reference": {"negative": "a.fa"}}, "reference lacks positive"),
            ({"reference": {"negatives": "a.fa"}}, "Did you mean 'negative'"),
            ({"reference": {"negative": "a.fa"}, "labels": None}, "list them in order as labels"),
        ],
    )
    def test_cards_refused(self, settings, message):
        with pytest.raises(ConfigError) as caught:
            self.card(**settings)
        assert message in str(caught.value)


def test_names_of_records():
    known = record_names(["chr1", "2", "ENST0001.7", "mitochondrion_genome"])
    assert known["1"] == known["chr1"] == "chr1"
    assert known["chr2"] == "2"
    assert known["ENST0001"] == "ENST0001.7"
    assert known["chrM"] == "mitochondrion_genome"


def test_coordinates_follow_a_selection_and_are_one_for_each():
    places = (Interval("chr1", 0, 2), None, Interval("chr2", 5, 7))
    codes = [encode("AC"), encode("GG"), encode("TT")]
    columns = {"codes": codes, "labels": np.array([0, 1, 0]), "ids": ("a", "b", "c")}
    examples = Examples(**columns, coordinates=places)
    assert examples.select(np.array([2, 1])).coordinates == (places[2], None)
    assert Examples(**columns).select(np.array([0])).coordinates is None
    with pytest.raises(DataError, match="3 sequences and 2 coordinates"):
        Examples(**columns, coordinates=places[:2])


class TestUnits:
    def write(self, folder: Path, columns: str, rows: dict[str, str]) -> None:
        for part in ("train", "valid", "test"):
            (folder / f"{part}.csv").write_text(f"sequence,label{columns}\n{rows[part]}")

    def plain(self) -> dict[str, str]:
        bases = {"train": "A", "valid": "C", "test": "G"}
        return {part: f"{base}A,0\n{base}C,1\n" for part, base in bases.items()}

    def test_a_named_unit_needs_the_column(self, tmp_path):
        self.write(tmp_path, "", self.plain())
        found = refusal(card_of("csv", unit="gene"), tmp_path)
        assert "the card's unit is 'gene'" in found
        assert "no column 'cluster'" in found
        rows = dict.fromkeys(("train", "valid", "test"), "AA,0,g1\nAC,1,g1\n")
        self.write(tmp_path, ",cluster", rows)
        assert load_examples(card_of("csv", unit="gene"), tmp_path).test.cluster_ids == ("g1", "g1")

    def test_chromosomes_need_coordinates(self, tmp_path):
        self.write(tmp_path, "", self.plain())
        found = refusal(card_of("csv", unit="chromosome"), tmp_path)
        assert "2 of 2 train examples have no coordinates" in found
        rows = dict.fromkeys(("train", "valid", "test"), "AA,0,chr1,5,7,-\nACG,1,chr2,0,3,+\n")
        self.write(tmp_path, ",chrom,start,end,strand", rows)
        test = load_examples(card_of("csv", unit="chromosome"), tmp_path).test
        assert test.cluster_ids == ("chr1", "chr2")
        assert test.coordinates == (Interval("chr1", 5, 7, "-"), Interval("chr2", 0, 3, "+"))

    def test_homology_joins_across_parts_and_strands(self, tmp_path):
        one, other = "ACGTTGCAAGGCTTAACCGGATTACAGG" * 2, "TTGACCATGGCATCCGATAGCCTTAGAC" * 2
        mirrored = decode(reverse_complement(encode(one)))
        rows = {
            "train": f"{one},0\n{other},1\n",
            "valid": f"{one}A,0\n{other}C,1\n",
            "test": f"{mirrored},0\n{other}G,1\n",
        }
        self.write(tmp_path, "", rows)
        task = load_examples(card_of("csv", unit="homology"), tmp_path)
        assert task.train.cluster_ids == task.valid.cluster_ids == task.test.cluster_ids
        assert len(set(task.test.cluster_ids)) == 2

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("AA,0,chr1,5,8", "chr1:5-8 is not as long as its sequence of 2 bases"),
            ("AA,0,chr1,five,7", "expected a name and numbers"),
        ],
    )
    def test_coordinates_that_do_not_fit(self, tmp_path, row, message):
        rows = dict.fromkeys(("train", "valid", "test"), f"{row}\nAC,1,,,\n")
        self.write(tmp_path, ",chrom,start,end", rows)
        assert message in refusal(card_of("csv"), tmp_path)


class TestChecksums:
    TEXT = "sequence,label\nAA,0\nAC,1\n"

    def write(self, folder: Path) -> None:
        for part in ("train", "valid", "test"):
            (folder / f"{part}.csv").write_text(self.TEXT)

    def test_of_the_file_as_it_lies_or_unpacked(self, tmp_path):
        self.write(tmp_path)
        plain = hashlib.sha256(self.TEXT.encode()).hexdigest()
        card = card_of("csv", sha256={"train": plain, "test": plain})
        load_examples(card, tmp_path)
        packed = gzip.compress(self.TEXT.encode())
        (tmp_path / "train.csv").unlink()
        (tmp_path / "train.csv.gz").write_bytes(packed)
        load_examples(card, tmp_path)
        itself = hashlib.sha256(packed).hexdigest()
        load_examples(card_of("csv", sha256={"train": itself}), tmp_path)

    def test_a_wrong_one_names_file_found_and_expected(self, tmp_path):
        self.write(tmp_path)
        expected = "0" * 64
        found = refusal(card_of("csv", sha256={"test": expected}), tmp_path)
        assert str(tmp_path / "test.csv") in found
        assert hashlib.sha256(self.TEXT.encode()).hexdigest() in found
        assert f"the task card expects {expected}" in found

    def test_the_same_rows_in_another_form_are_not_compared(self, tmp_path):
        self.write(tmp_path)
        card = card_of("csv", sha256={"test": hashlib.sha256(self.TEXT.encode()).hexdigest()})
        (tmp_path / "test.csv").unlink()
        (tmp_path / "test.fna").write_text(">a|0\nAA\n>b|1\nAC\n")
        assert letters(load_examples(card, tmp_path).test) == ["AA", "AC"]

    def test_of_a_folder(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "x.txt").write_text("AC")
        (tmp_path / "b.txt").write_text("GG")
        lines = [
            f"{hashlib.sha256(text).hexdigest()}  {name}\n"
            for name, text in (("a/x.txt", b"AC"), ("b.txt", b"GG"))
        ]
        assert folder_sum(tmp_path) == hashlib.sha256("".join(lines).encode()).hexdigest()

    @pytest.mark.parametrize(
        ("sums", "message"),
        [
            ({"dev": "0" * 64}, "sha256: unknown part 'dev'"),
            ({"test": "ABC"}, "sha256 of 'test' is 'ABC'; expected 64 hexadecimal digits"),
        ],
    )
    def test_cards_refused(self, sums, message):
        with pytest.raises(ConfigError) as caught:
            card_of("csv", sha256=sums)
        assert message in str(caught.value)


def test_an_unknown_layout_suggests_a_known_one(tmp_path):
    from lightning_dna.tasks.card import load_card

    path = tmp_path / "card.yaml"
    path.write_text(
        "name: a\nkind: classification\ntitle: T\nlayout: fastq\n"
        "files: {train: a, valid: b, test: c}\n"
    )
    with pytest.raises(ConfigError, match="Did you mean 'fasta'"):
        load_card(path)


@pytest.mark.data
def test_sequences_cut_from_windows_are_those_that_the_publishers_serve(data_folder, tmp_path):
    served = data_folder / "genomic-benchmarks" / "test_human_nontata_promoters.csv.gz"
    with gzip.open(served, "rt") as text:
        published = {row["seq"].upper() for row in csv.DictReader(text) if row["label"] == "1"}
    folder = data_folder / "genomic-benchmarks" / "coordinates" / "human_nontata_promoters" / "test"
    with gzip.open(folder / "positive.csv.gz", "rt") as text:
        rows = list(csv.DictReader(text))
    strands = set()
    for file, record, chrom, first, last in (
        ("human-windows/hg38.chr9_1_1000000.dna_sm.fa.gz", "9", "chr9", 0, 1_000_000),
        (
            "brca1-sge/hg38.chr17_42425000_43600000.plus.fa.gz",
            "chr17:42425000-43600000",
            "chr17",
            42_424_999,  # the first base of the file is base 42,425,000, counted from 1
            43_600_000,
        ),
    ):
        inside = [
            f"{row['id']},{record},{int(row['start']) - first},{int(row['end']) - first},"
            f"{row['strand']}"
            for row in rows
            if row["region"] == chrom and first <= int(row["start"]) < int(row["end"]) <= last
        ]
        path = tmp_path / f"{chrom}.csv"
        path.write_text("\n".join(["id,region,start,end,strand", *inside]) + "\n")
        table = read_intervals(path, "positive", data_folder / file)
        assert len(table) == len(inside) >= 1
        assert {decode(codes) for codes in table.codes} <= published
        strands |= {place.strand for place in table.coordinates}
    assert strands == {"+", "-"}
