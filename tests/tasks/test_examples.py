"""Labelled examples: what is read, how parts are cut, and what is refused with which message."""

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.tasks.card import Carve, TaskCard
from lightning_dna.tasks.examples import load_examples

ROWS = "sequence,label\nACGT,0\nTTTT,1\n"


def card_of(**settings) -> TaskCard:
    files = settings.pop("files", {"train": "train.csv", "valid": "dev.csv", "test": "test.csv"})
    base = {"name": "toy", "kind": "classification", "title": "Toy", "files": files}
    return TaskCard(**base | settings)


def write_parts(folder: Path, **parts: str) -> None:
    for name in ("train", "dev", "test"):
        default = {"train": "ACGTN", "dev": "CCCCG", "test": "GGGGA"}[name]
        text = parts.get(name, f"sequence,label\n{default},0\n{default}T,1\n")
        (folder / f"{name}.csv").write_text(text)


def random_sequences(n: int, length: int = 20, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(row) for row in rng.choice(list("ACGT"), size=(n, length))]


def refused(folder: Path, **parts: str) -> str:
    write_parts(folder, **parts)
    with pytest.raises(DataError) as error:
        load_examples(card_of(), folder)
    return str(error.value)


class TestReading:
    def test_codes_labels_and_ids_are_those_of_the_files(self, tmp_path):
        write_parts(tmp_path, train="sequence,label\nACGTNacgtn,1\nTTUR,0\n")
        task = load_examples(card_of(), tmp_path)
        assert [row.tolist() for row in task.train.codes] == [
            [0, 1, 2, 3, 4, 0, 1, 2, 3, 4],  # lower case is the same base, without soft mask
            [3, 3, 3, 4],
        ]
        assert task.train.codes[0].dtype == np.uint8
        assert task.train.labels.tolist() == [1, 0]
        assert task.train.labels.dtype == np.int64
        assert task.train.ids == ("train:0", "train:1")
        assert task.test.ids == ("test:0", "test:1")
        assert task.test.cluster_ids == task.test.ids
        assert task.classes == ("0", "1")
        assert task.notes == ()

    def test_id_and_cluster_columns_in_any_order(self, tmp_path):
        write_parts(tmp_path, test="cluster,label,more,id,sequence\nc1,0,x,a,AC\nc1,1,y,b,GT\n")
        test = load_examples(card_of(), tmp_path).test
        assert test.ids == ("a", "b")
        assert test.cluster_ids == ("c1", "c1")

    def test_gzip_beside_the_name_and_byte_order_mark_and_blank_lines(self, tmp_path):
        write_parts(tmp_path)
        (tmp_path / "train.csv").unlink()
        with gzip.open(tmp_path / "train.csv.gz", "wb") as stream:
            stream.write("\ufeffsequence,label\r\nAAC,0\r\n\r\nAAG,1\r\n".encode())
        task = load_examples(card_of(), tmp_path)
        assert [row.tolist() for row in task.train.codes] == [[0, 0, 1], [0, 0, 2]]

    def test_a_sequence_longer_than_the_usual_limit_of_a_csv_field(self, tmp_path):
        write_parts(tmp_path, train=f"sequence,label\n{'ACGT' * 50_000},0\nAC,1\n")
        assert load_examples(card_of(), tmp_path).train.lengths.tolist() == [200_000, 2]

    def test_one_file_with_a_split_column(self, tmp_path):
        (tmp_path / "all.csv").write_text(
            "sequence,label,split\nAA,0,train\nAC,1,train\nCA,0,dev\nCC,1,valid\n"
            "GA,0,test\nGC,1,test\n"
        )
        task = load_examples(card_of(files={"all": "all.csv"}), tmp_path)
        assert task.train.ids == ("all:0", "all:1")
        assert task.valid.ids == ("all:2", "all:3")
        assert [row.tolist() for row in task.test.codes] == [[2, 0], [2, 1]]

    def test_named_labels_are_numbered_in_the_order_of_the_card(self, tmp_path):
        rows = "sequence,label\nAA{0},donor\nAC{0},none\nAG{0},acceptor\n"
        write_parts(
            tmp_path,
            **{n: rows.format(b) for n, b in zip(("train", "dev", "test"), "ACG", strict=True)},
        )
        task = load_examples(card_of(labels=("none", "donor", "acceptor")), tmp_path)
        assert task.classes == ("none", "donor", "acceptor")
        assert task.train.labels.tolist() == [1, 0, 2]

    def test_tasks_root_comes_before_the_folder_of_the_card(self, tmp_path):
        first, second = tmp_path / "root", tmp_path / "card"
        for folder in (first, second):
            folder.mkdir()
            write_parts(folder)
        (first / "train.csv").write_text(ROWS)
        (second / "train.csv").write_text(ROWS + "AAAA,1\n")
        both = load_examples(card_of(folder=str(second)), first)
        alone = load_examples(card_of(folder=str(second)))
        assert (len(both.train), len(alone.train)) == (2, 3)

    def test_copies_in_two_parts_are_counted(self, tmp_path):
        write_parts(
            tmp_path,
            train="sequence,label\nAAAA,0\nCCCC,1\n",
            dev="sequence,label\naaaa,0\nGGGG,1\n",
            test="sequence,label\nAAAA,0\nCCCC,1\n",
        )
        assert load_examples(card_of(), tmp_path).notes == (
            "toy: 1 of 2 valid sequences also stand in the train part.",
            "toy: 2 of 2 test sequences also stand in the train part.",
            "toy: 1 of 2 test sequences also stand in the valid part.",
        )


class TestSimulated:
    def simulated(self, **settings) -> TaskCard:
        fields = {"n_train": 40, "n_valid": 20, "n_test": 20, "length": 80} | settings
        return TaskCard(
            name="s", kind="simulated_classification", title="S", simulated="promoter", **fields
        )

    def test_sizes_lengths_and_ids(self):
        task = load_examples(self.simulated())
        assert [len(part) for part in (task.train, task.valid, task.test)] == [40, 20, 20]
        assert set(task.train.lengths.tolist()) == {80}
        assert task.test.ids[3] == "promoter-0-test-3"
        assert max(row.max() for row in task.train.codes) <= 3

    def test_the_seed_of_the_card_decides(self):
        first, again = load_examples(self.simulated()), load_examples(self.simulated())
        other = load_examples(self.simulated(seed=1))
        assert all((a == b).all() for a, b in zip(first.test.codes, again.test.codes, strict=True))
        assert any((a != b).any() for a, b in zip(first.test.codes, other.test.codes, strict=True))


class TestCarving:
    RULE = Carve(part="valid", source="train", fraction=0.25, seed=0)

    def load(self, folder: Path, rule: Carve = RULE, **settings):
        files = {rule.source: "train.csv", "test": "test.csv"}
        return load_examples(card_of(files=files, carve=rule, **settings), folder)

    def write(self, folder: Path, sequences: list[str], labels: list[int], **columns) -> None:
        write_parts(folder)
        frame = pd.DataFrame({"sequence": sequences, "label": labels, **columns})
        frame.to_csv(folder / "train.csv", index=False)

    def test_the_parts_are_disjoint_complete_and_stratified(self, tmp_path):
        labels = [0] * 80 + [1] * 40
        self.write(tmp_path, random_sequences(120), labels)
        task = self.load(tmp_path)
        assert Counter(task.valid.labels.tolist()) == {0: 20, 1: 10}
        assert Counter(task.train.labels.tolist()) == {0: 60, 1: 30}
        assert sorted(task.train.ids + task.valid.ids) == sorted(f"train:{i}" for i in range(120))
        assert "30 examples, 90 remain" in task.notes[0]

    def test_what_is_said_of_the_carving_is_said_where_it_holds(self, tmp_path):
        self.write(tmp_path, random_sequences(40), [0, 1] * 20)
        said = {"deviation": "Shortened.", "carve_deviation": "A quarter validates."}
        carved = "toy: The valid part is carved from the file of the train part: 10 examples, 30 r"
        notes = self.load(tmp_path, **said).notes
        assert notes[:2] == ("toy: Shortened.", "toy: A quarter validates.")
        assert notes[2].startswith(carved)
        folded = self.load(tmp_path, **said, folds=5).notes
        assert folded == (
            "toy: Shortened.",
            "toy: Cross-validation: training and validation examples are one pool of 5 folds; each "
            "chooses once, the others train, and every model predicts the test part.",
        )
        shared = self.load(tmp_path, **said, split="homology", name="toy@homology").notes
        assert shared == ("toy@homology: Shortened.",)

    def test_copies_of_test_sequences_are_counted_in_the_pool_of_folds(self, tmp_path):
        write_parts(
            tmp_path,
            train="sequence,label\nAAAA,0\nCCCC,1\n",
            dev="sequence,label\naaaa,0\nGGGG,1\n",
            test="sequence,label\nGGGG,0\nACGT,1\n",
        )
        assert load_examples(card_of(folds=2), tmp_path).notes[1:] == (
            "toy: 1 of 2 test sequences also stand in the pooled part.",
        )

    def test_the_choice_depends_on_seed_and_sequence_and_not_on_the_order(self, tmp_path):
        sequences, labels = random_sequences(100), [0, 1] * 50

        def chosen(order, rule=self.RULE) -> set[bytes]:
            self.write(tmp_path, [sequences[i] for i in order], [labels[i] for i in order])
            return {codes.tobytes() for codes in self.load(tmp_path, rule).valid.codes}

        forward = chosen(range(100))
        assert chosen(range(99, -1, -1)) == forward
        other = Carve(part="valid", source="train", fraction=0.25, seed=1)
        assert chosen(range(100), other) != forward

    def test_training_can_be_carved_from_validation(self, tmp_path):
        self.write(tmp_path, random_sequences(40), [0, 1] * 20)
        rule = Carve(part="train", source="valid", fraction=0.75)
        task = self.load(tmp_path, rule)
        assert (len(task.train), len(task.valid)) == (30, 10)

    def test_copies_of_a_sequence_stay_together_even_with_two_labels(self, tmp_path):
        sequences = random_sequences(30)
        self.write(tmp_path, sequences * 2, [0] * 30 + [1] * 30)
        task = self.load(tmp_path)
        train = {codes.tobytes() for codes in task.train.codes}
        assert not any(codes.tobytes() in train for codes in task.valid.codes)
        assert len(task.train) + len(task.valid) == 60

    def test_clusters_stay_together(self, tmp_path):
        clusters = [f"c{index // 5}" for index in range(100)]
        self.write(tmp_path, random_sequences(100), [0, 1] * 50, cluster=clusters)
        task = self.load(tmp_path)
        assert not set(task.train.cluster_ids) & set(task.valid.cluster_ids)
        assert len(task.valid) > 0

    def test_max_train_is_a_fixed_stratified_choice(self, tmp_path):
        self.write(tmp_path, random_sequences(200), [0] * 150 + [1] * 50)
        task = self.load(tmp_path, max_train=40)
        assert Counter(task.train.labels.tolist()) == {0: 30, 1: 10}
        assert self.load(tmp_path, max_train=40).train.ids == task.train.ids
        assert set(self.load(tmp_path, max_train=20).train.ids) < set(task.train.ids)
        assert "40 of 150 training examples" in task.notes[1]


class TestRefused:
    def test_all_missing_files_and_all_places_are_named(self, tmp_path):
        card = card_of(folder=str(tmp_path / "card"))
        write_parts(tmp_path)
        (tmp_path / "train.csv").unlink()
        (tmp_path / "test.csv").unlink()
        with pytest.raises(DataError) as error:
            load_examples(card, tmp_path)
        message = str(error.value)
        for part in ("train: train.csv", "test: test.csv", str(tmp_path), str(tmp_path / "card")):
            assert part in message
        assert "dev.csv" not in message
        assert "tasks_root" in message

    def test_missing_columns_with_the_found_ones(self, tmp_path):
        message = refused(tmp_path, train="dna,label\nAC,0\n")
        assert "missing columns: sequence; found: dna, label" in message
        assert "train.csv" in message

    def test_a_column_twice(self, tmp_path):
        assert "'label' stands twice" in refused(tmp_path, train="sequence,label,label\nAC,0,0\n")

    @pytest.mark.parametrize(
        ("text", "words"), [("", "an empty file"), ("sequence,label\n", "row")]
    )
    def test_an_empty_file(self, tmp_path, text, words):
        assert words in refused(tmp_path, test=text)

    def test_unknown_letters_with_column_lines_and_letter(self, tmp_path):
        rows = "".join(f"AC{'GX'[index > 0]}T,{index % 2}\n" for index in range(9))
        message = refused(tmp_path, dev=f"sequence,label\n{rows}")
        assert "dev.csv, column 'sequence', line 3, 4, 5, 6, 7 and 3 more" in message
        assert "'X' at position 2" in message

    def test_an_empty_sequence(self, tmp_path):
        message = refused(tmp_path, train="sequence,label\nAC,0\n,1\n")
        assert "column 'sequence', line 3" in message
        assert "empty" in message

    def test_labels_that_are_not_integers(self, tmp_path):
        message = refused(tmp_path, train="sequence,label\nAC,0\nAG,yes\nAT,-1\n")
        assert "column 'label', line 3, 4: 'yes' is not an integer" in message
        assert "'labels' in the task card" in message

    def test_a_label_number_that_cannot_be_a_class(self, tmp_path):
        message = refused(tmp_path, train="sequence,label\nAC,0\nAG,1000000000\n")
        assert "line 3" in message
        assert "1000000001 classes" in message

    def test_a_number_that_no_row_has(self, tmp_path):
        """Labels 1 and 2 would make a class 0 without an example."""
        rows = "sequence,label\nAC,1\nAG,2\nAT,1\n"
        message = refused(tmp_path, train=rows, dev=rows, test=rows)
        assert "no row of any part has the label 0, and labels go up to 2" in message
        assert "name them in class order as 'labels'" in message
        write_parts(tmp_path, train=rows, dev=rows, test=rows)
        assert load_examples(card_of(labels=("1", "2")), tmp_path).classes == ("1", "2")

    def test_a_label_that_the_card_does_not_name(self, tmp_path):
        write_parts(tmp_path, train="sequence,label\nAC,no\nAG,maybe\n")
        with pytest.raises(DataError, match=r"line 3: 'maybe' is not a label.*allowed: no, yes"):
            load_examples(card_of(labels=("no", "yes")), tmp_path)

    @pytest.mark.parametrize(
        ("name", "part"), [("train", "train"), ("dev", "valid"), ("test", "test")]
    )
    def test_one_class_only(self, tmp_path, name, part):
        message = refused(tmp_path, **{name: "sequence,label\nAC,1\nAG,1\n"})
        assert f"the {part} part holds 1: 2" in message
        assert "two classes" in message

    def test_a_class_that_training_lacks(self, tmp_path):
        message = refused(tmp_path, test="sequence,label\nAC,0\nAG,1\nAT,2\n")
        assert "label 2" in message
        assert "not in the training part" in message

    def test_duplicated_ids(self, tmp_path):
        message = refused(
            tmp_path,
            train="sequence,label,id\nAC,0,x\nAG,1,y\n",
            test="sequence,label,id\nAC,0,z\nAG,1,x\n",
        )
        assert "test.csv, column 'id', line 3: 'x' stands twice" in message
        assert "test part; the first is in" in message
        assert "train.csv, line 2. Every example needs an id of its own" in message
        assert "drop the column, or write the part before each (train-x)" in message

    def test_an_id_twice_in_one_file(self, tmp_path):
        message = refused(tmp_path, train="sequence,label,id\nAC,0,x\nAG,1,y\nAT,1,x\n")
        assert "train.csv, column 'id', line 4: 'x' stands twice" in message
        assert "train.csv, line 2. Every" in message
        assert "number the rows through, or drop the column." in message

    def test_truncated_gzip(self, tmp_path):
        write_parts(tmp_path)
        (tmp_path / "train.csv").unlink()
        whole = gzip.compress(ROWS.encode() * 200)
        (tmp_path / "train.csv.gz").write_bytes(whole[:-12])
        with pytest.raises(DataError, match=r"train\.csv\.gz is not a whole gzip file"):
            load_examples(card_of(), tmp_path)

    def test_plain_text_that_is_named_gzip(self, tmp_path):
        write_parts(tmp_path)
        (tmp_path / "train.csv").rename(tmp_path / "train.csv.gz")
        with pytest.raises(DataError, match="not a whole gzip file"):
            load_examples(card_of(), tmp_path)

    def test_rows_with_more_or_fewer_fields(self, tmp_path):
        message = refused(tmp_path, train="sequence,label\nAC,0\nAG\n")
        assert "line 3: 1 fields, but the header has 2" in message

    def test_text_that_is_not_utf8(self, tmp_path):
        write_parts(tmp_path)
        (tmp_path / "train.csv").write_bytes(b"sequence,label\nAC\xff,0\n")
        with pytest.raises(DataError, match="cannot read"):
            load_examples(card_of(), tmp_path)

    def test_a_sequence_above_the_length_of_the_card(self, tmp_path):
        write_parts(tmp_path)
        with pytest.raises(DataError, match=r"line 3: 6 bases, above the card's sequence_length 5"):
            load_examples(card_of(sequence_length=5), tmp_path)

    def test_an_unknown_part_name(self, tmp_path):
        (tmp_path / "all.csv").write_text("sequence,label,split\nAA,0,train\nAC,1,holdout\n")
        with pytest.raises(DataError, match=r"line 3: 'holdout' is not a part"):
            load_examples(card_of(files={"all": "all.csv"}), tmp_path)

    def test_a_part_that_the_split_column_never_names(self, tmp_path):
        (tmp_path / "all.csv").write_text("sequence,label,split\nAA,0,train\nAC,1,test\n")
        with pytest.raises(DataError, match="no row belongs to valid"):
            load_examples(card_of(files={"all": "all.csv"}), tmp_path)

    def test_the_test_part_is_never_carved(self):
        with pytest.raises(ConfigError, match="never carved"):
            card_of(files={"train": "a.csv"}, carve=Carve())


@pytest.mark.data
class TestRealFiles:
    """Sizes and class counts against the table made when the files were fetched."""

    def expected(self, data_folder: Path, task: str, split: str) -> dict[int, int]:
        stats = pd.read_csv(data_folder / "gue" / "STATS.tsv", sep="\t", dtype=str)
        row = stats[(stats["task"] == task) & (stats["split"] == split)].iloc[0]
        counts = [pair.split(":") for pair in row["labels"].strip("{}").split(",")]
        return {int(label.strip(" '")): int(count) for label, count in counts}

    def test_transcription_factor_task(self, data_folder):
        files = {"train": "tf/0/train.csv", "valid": "tf/0/dev.csv", "test": "tf/0/test.csv"}
        task = load_examples(card_of(files=files), data_folder / "gue" / "GUE")
        for part, split in ((task.train, "train"), (task.valid, "dev"), (task.test, "test")):
            assert Counter(part.labels.tolist()) == self.expected(data_folder, "tf/0", split)
            assert set(part.lengths.tolist()) == {101}
        assert task.notes == ("toy: 1 of 1000 valid sequences also stand in the train part.",)

    def test_histone_task_carved_from_its_development_file(self, data_folder):
        files = {"train": "EMP/H3/dev.csv", "test": "EMP/H3/test.csv"}
        card = card_of(files=files, carve=Carve(fraction=0.2))
        task = load_examples(card, data_folder / "gue" / "GUE")
        together = Counter(task.train.labels.tolist()) + Counter(task.valid.labels.tolist())
        assert together == self.expected(data_folder, "EMP/H3", "dev")
        assert Counter(task.test.labels.tolist()) == self.expected(data_folder, "EMP/H3", "test")
        assert len(task.valid) == round(0.2 * 735) + round(0.2 * 762)
