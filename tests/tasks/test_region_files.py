"""Published layouts of regions and labels, in small files written exactly so, and damaged ones."""

import gzip
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.region_task import RegionTask, load_regions
from lightning_dna.tasks.regions import Regions

h5py = pytest.importorskip("h5py")

GENOME = {
    "chr1": "ACGTACGTAAAACCCCGGGGTTTTACGTNACG",
    "chr2": "TTTTGGGGCCCCAAAATTTTGGGGCCCCAAAA",
}
MULTI_HOT = """chromosome\tstart\tend\tstrand\tlabel\tsplit
chr1\t0\t8\t+\t0,2\ttrain
chr1\t8\t16\t-\t\ttrain
chr1\t16\t24\t+\t1\tvalid
chr1\t20\t28\t+\t0\tvalid
chr2\t0\t8\t-\t2\ttest
chr2\t8\t16\t+\t0,1,2\ttest
chr2\t16\t24\t+\t\ttest
"""
LABELS = [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = "".join(f">{name}\n{bases}\n" for name, bases in GENOME.items())
    (tmp_path / "genome.fa").write_text(lines)
    (tmp_path / "marks.bed").write_text(MULTI_HOT)
    return tmp_path


def card(folder: Path, **changes) -> TaskCard:
    said = {"layout": "bend", "label_count": 3, "strand": True} | changes.pop("regions", {})
    files = changes.pop("files", {"all": "marks.bed"})
    if said["layout"] != "deepsea":
        files = {"genome": "genome.fa"} | files
    return TaskCard(
        **{
            "name": "marks",
            "kind": "multilabel",
            "title": "Marks",
            "files": {name: place for name, place in files.items() if place is not None},
            "folder": str(folder),
            "regions": Regions(**said),
        }
        | changes
    )


def load(found: TaskCard) -> RegionTask:
    def no_genome() -> Genome:
        raise AssertionError("the card names its own genome")

    return load_regions(found, None, no_genome)


def letters(task: RegionTask) -> list[str]:
    return ["".join("ACGTN"[code] for code in codes) for codes in task.regions.codes]


def write_hdf5(path: Path, **datasets) -> None:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values


def test_bed_with_a_label_column(folder):
    task = load(card(folder))
    assert letters(task) == [
        "ACGTACGT",
        "GGGGTTTT",  # the reverse complement of AAAACCCC
        "GGGGTTTT",
        "TTTTACGT",
        "CCCCAAAA",  # the reverse complement of TTTTGGGG
        "CCCCAAAA",
        "TTTTGGGG",
    ]
    assert task.regions.labels.tolist() == LABELS
    split = task.splits[0]
    assert [split.train.tolist(), split.valid.tolist(), split.test.tolist()] == [
        [0, 1],
        [2, 3],
        [4, 5, 6],
    ]
    assert task.regions.ids[1] == "chr1:8-16(-)"
    assert task.regions.clusters == ("chr1:0",) * 4 + ("chr2:0",) * 3
    assert task.notes == ()


def test_the_strand_is_read_only_where_the_card_says_so(folder):
    task = load(card(folder, regions={"strand": False}))
    assert letters(task)[1] == "AAAACCCC"


def test_labels_in_hdf5_gzip_and_names_without_chr(folder):
    lines = [line.split("\t") for line in MULTI_HOT.splitlines()]
    bed = "".join("\t".join([*row[:3], row[5]]).replace("chr", "") + "\n" for row in lines)
    bed = bed.replace("omosome", "chromosome")
    (folder / "marks.bed").unlink()
    with gzip.open(folder / "marks.bed.gz", "wt") as file:
        file.write(bed)
    write_hdf5(folder / "marks.hdf5", labels=np.array(LABELS))
    files = {"all": "marks.bed", "labels": "marks.hdf5"}
    task = load(card(folder, files=files, regions={"strand": False}))
    assert task.regions.labels.tolist() == LABELS
    assert letters(task)[2] == "GGGGTTTT"


def test_context_around_the_middle_is_padded_with_n_at_the_ends(folder):
    task = load(card(folder, regions={"length": 12}))
    assert letters(task)[0] == "NN" + GENOME["chr1"][:10]
    assert letters(task)[6] == GENOME["chr2"][14:26]


def test_clusters_are_stretches_of_a_chromosome(folder):
    task = load(card(folder, regions={"cluster_length": 16}))
    assert task.regions.clusters[:4] == ("chr1:0", "chr1:0", "chr1:1", "chr1:1")


def test_positions_of_a_sequence_have_classes_and_padding(folder):
    labels = np.full((7, 10), -100)
    labels[:, :8] = np.arange(56).reshape(7, 8) % 4
    labels[3, 2] = -100  # a position without a class, inside
    write_hdf5(folder / "genes.hdf5", labels=labels)
    genes = card(
        folder,
        kind="per_position",
        files={"all": "marks.bed", "labels": "genes.hdf5"},
        regions={"label_count": 4},
    )
    found = load(genes).regions.labels
    assert found.shape == (7, 8)
    expected = labels[:, :8].copy()
    expected[3, 2] = -1
    assert found.tolist() == expected.tolist()


def test_bins_and_folds(folder):
    lines = MULTI_HOT.splitlines()
    folds = ["part1", "part2", "part10", "part1", "part2", "part10", "part10"]
    rows = [
        line.rsplit("\t", 1)[0] + f"\t{fold}\n" for line, fold in zip(lines[1:], folds, strict=True)
    ]
    (folder / "marks.bed").write_text(lines[0] + "\n" + "".join(rows))
    write_hdf5(folder / "bins.hdf5", labels=np.tile([0, 1], (7, 1)))
    bins = card(
        folder,
        kind="per_position",
        metrics=("auprc",),
        files={"all": "marks.bed", "labels": "bins.hdf5"},
        regions={"label_count": 2, "bin": 4, "folds": True},
    )
    splits = load(bins).splits
    # Folds in sorted order: part1, part10, part2. The one after the test fold validates.
    assert [split.test.tolist() for split in splits] == [[0, 3], [2, 5, 6], [1, 4]]
    assert [split.valid.tolist() for split in splits] == [[2, 5, 6], [1, 4], [0, 3]]
    assert [split.train.tolist() for split in splits] == [[1, 4], [0, 3], [2, 5, 6]]


def test_limits_and_overlaps_are_told(folder):
    bed = MULTI_HOT.replace("chr2\t0\t8\t-\t2\ttest", "chr1\t4\t9\t-\t2\ttest")
    (folder / "marks.bed").write_text(bed)
    task = load(card(folder, regions={"max_test": 2}))
    assert task.splits[0].test.tolist() == [4, 5]
    assert task.notes[:2] == (
        "2 of 3 test regions are used.",
        "1 of 2 test regions overlap a training region.",
    )


def test_labels_of_one_class_are_counted(folder):
    (folder / "marks.bed").write_text(MULTI_HOT.replace("\t0,1,2\t", "\t0,2\t"))
    assert load(card(folder)).notes == (
        "1 of 3 labels have one class only in the test part and are left out of every mean.",
    )


def test_coordinates_and_targets_of_hyenadna(folder):
    header = "filter_index,Chr_No,Start,End,y_1,y_2\n"
    (folder / "train.csv").write_text(header + "0,0,0,8,1,0\n1,0,8,16,0,1\n2,1,0,8,1,1\n")
    (folder / "valid.csv").write_text(header + "0,0,16,24,0,1\n1,1,4,12,1,0\n")
    (folder / "test.csv").write_text(header + "0,1,8,16,1,0\n1,1,16,24,0,1\n")
    files = {part: f"{part}.csv" for part in ("train", "valid", "test")}
    changes = {"layout": "coordinates", "label_count": 2, "strand": False}
    task = load(card(folder, files=files, regions=changes))
    assert letters(task)[2] == "TTTTGGGG"
    assert task.regions.labels.tolist() == [[1, 0], [0, 1], [1, 1], [0, 1], [1, 0], [1, 0], [0, 1]]
    assert task.splits[0].test.tolist() == [5, 6]
    fewer = load(card(folder, files=files, max_train=2, regions=changes))
    assert letters(fewer)[:2] == ["ACGTACGT", "AAAACCCC"]
    with pytest.raises(DataError, match="has 2 columns y_"):
        load(card(folder, files=files, regions=changes | {"label_count": 3}))
    (folder / "valid.csv").write_text(header + "0,0,16,x,0,1\n")
    with pytest.raises(DataError, match=r"valid\.csv cannot be read as a table"):
        load(card(folder, files=files, regions=changes))


def deepsea_arrays(sequences: list[str], labels) -> tuple[np.ndarray, np.ndarray]:
    """One-hot (n, 4, bases) in DeepSEA's order A, G, C, T, and labels (n, labels)."""
    one_hot = np.array([[[base == one for base in s] for one in "AGCT"] for s in sequences])
    return one_hot.astype(np.uint8), np.array(labels, dtype=np.uint8)


def test_deepsea_files_of_both_formats(tmp_path):
    strands = ["AACG", "GGTN", "CGTT", "NACC"]  # the second half: reverse complements
    labels = [[1, 0], [0, 1], [1, 0], [0, 1]]
    x, y = deepsea_arrays(strands, labels)
    write_hdf5(tmp_path / "train.mat", trainxdata=x.transpose(2, 1, 0), traindata=y.T)
    for part in ("valid", "test"):
        savemat(tmp_path / f"{part}.mat", {f"{part}xdata": x, f"{part}data": y})
    files = {part: f"{part}.mat" for part in ("train", "valid", "test")}
    regions = {"layout": "deepsea", "label_count": 2, "cluster_length": 200}
    task = load(card(tmp_path, files=files, regions=regions))
    assert letters(task) == strands * 3
    assert task.regions.labels.tolist() == labels * 3
    # A sequence and its reverse complement are one cluster.
    assert task.regions.clusters[:4] == ("train:0", "train:1", "train:0", "train:1")
    fewer = load(card(tmp_path, files=files, max_train=3, regions=regions))
    assert letters(fewer)[:4] == ["AACG", "GGTN", "CGTT", "AACG"]
    with pytest.raises(DataError, match="2 labels for each sequence; the card says label_count 3"):
        load(card(tmp_path, files=files, regions=regions | {"label_count": 3}))
    write_hdf5(tmp_path / "train.mat", trainxdata=x.transpose(2, 1, 0), traindata=y[:3].T)
    with pytest.raises(DataError, match="4 sequences and 3 rows of labels"):
        load(card(tmp_path, files=files, regions=regions))
    (tmp_path / "train.mat").write_bytes(b"MATLAB 5.0 MAT-file" + b"x" * 200)
    with pytest.raises(DataError, match=r"train\.mat is not a whole MATLAB file"):
        load(card(tmp_path, files=files, regions=regions))


def with_bed(folder: Path, old: str, new: str) -> TaskCard:
    assert old in MULTI_HOT
    (folder / "marks.bed").write_text(MULTI_HOT.replace(old, new))
    return card(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("chr2\t16\t24", "chr2\t16\t33", "line 8: region chr2:16-33 reaches beyond chromosome"),
        ("chr2\t16\t24", "chr7\t16\t24", "no chromosome of the genome is named 'chr7'"),
        ("chr2\t16\t24", "chr2\t24\t16", "line 8: the region is empty"),
        ("\ttest", "\tholdout", "line 6, 7, 8: split 'holdout' is no part; allowed: train, valid"),
        ("\tvalid", "\ttrain", "no region belongs to valid"),
        ("0,1,2", "0,1,3", "line 7: label 3; label_count 3 of the card allows 0 to 2"),
        ("0,1,2", "0;1", "expected label numbers with commas between"),
        ("chr1\t8\t16\t-", "chr1\t8\t16\t*", r"line 3: strand '\*'; allowed: \+ and -"),
        ("chr1\t8\t16", "chr1\teight\t16", "column 'start', line 3: 'eight' is not a whole number"),
        ("chr1\t8\t16\t-\t\ttrain", "chr1\t8\t16", "line 3: 3 columns, the header has 6"),
        ("chromosome\tstart\tend", "chr1\t1\t2", "the header line lacks chromosome, start, end"),
        ("\tstrand\t", "\tside\t", "the header line lacks strand"),
    ],
)
def test_a_wrong_bed_file_is_refused(folder, old, new, message):
    with pytest.raises(DataError, match=message):
        load(with_bed(folder, old, new))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:6], r"has 6 rows, .*marks.bed has 7 regions; row i belongs to line i"),
        ([[*row, 0] for row in LABELS], "has 4 columns; the card says label_count 3"),
        ([[2, 0, 0], *LABELS[1:]], "holds 2; allowed: 0 to 1"),
    ],
)
def test_hdf5_labels_that_do_not_belong_to_the_bed_file_are_refused(folder, labels, message):
    write_hdf5(folder / "marks.hdf5", labels=np.array(labels))
    with pytest.raises(DataError, match=message):
        load(card(folder, files={"all": "marks.bed", "labels": "marks.hdf5"}))


def test_hdf5_files_that_are_none_or_lack_the_dataset_are_refused(folder):
    files = {"all": "marks.bed", "labels": "marks.hdf5"}
    (folder / "marks.hdf5").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match=r"marks\.hdf5 is not a whole HDF5 file"):
        load(card(folder, files=files))
    write_hdf5(folder / "marks.hdf5", targets=np.array(LABELS))
    with pytest.raises(DataError, match="has no dataset 'labels'; found: targets"):
        load(card(folder, files=files))
    (folder / "marks.hdf5").unlink()
    with pytest.raises(DataError, match=r"missing files: labels: marks\.hdf5"):
        load(card(folder, files=files))


def test_a_missing_package_is_named(folder, monkeypatch):
    write_hdf5(folder / "marks.hdf5", labels=np.array(LABELS))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r"h5py is not installed; install lightning-dna\[hdf5\]"):
        load(card(folder, files={"all": "marks.bed", "labels": "marks.hdf5"}))


def test_a_file_with_another_checksum_is_refused(folder):
    with pytest.raises(
        DataError, match=r"marks\.bed: sha256 found: .*; the task card expects 0000"
    ):
        load(card(folder, sha256={"all": "0" * 64}))


def test_rows_shorter_than_their_region_are_refused(folder):
    write_hdf5(folder / "genes.hdf5", labels=np.zeros((7, 7), dtype=int))
    files = {"all": "marks.bed", "labels": "genes.hdf5"}
    with pytest.raises(DataError, match=r"8 bins of 1 bases, but the row of .* has 7 labels"):
        load(card(folder, kind="per_position", files=files))


def test_a_genome_of_another_assembly_is_refused(folder):
    with pytest.raises(DataError, match="chromosome 1 of the genome has 32 bases, that of GRCh38"):
        load(card(folder, regions={"assembly": "GRCh38"}))
    with pytest.raises(DataError, match=r"missing files: genome: hg38\.fa"):
        load(card(folder, files={"all": "marks.bed", "genome": "hg38.fa"}))


def test_the_genome_of_the_study_serves_where_the_card_names_none(folder):
    study = Genome.from_sequences(GENOME)
    found = load_regions(
        card(folder, files={"all": "marks.bed", "genome": None}), None, lambda: study
    )
    assert letters(found)[0] == "ACGTACGT"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regions": {"label_count": 0}}, "regions.label_count is 0; allowed: 1 or more"),
        ({"regions": {"layout": "bent"}}, "unknown layout 'bent'"),
        ({"regions": {"assembly": "hg18"}}, "unknown assembly 'hg18'"),
        ({"regions": {"groups": {"TF": (1, 4)}}}, r"regions.groups.TF is \[1, 4\]"),
        ({"regions": {"splits": {"dev": ("a",)}}}, "unknown part 'dev'"),
        ({"regions": {"folds": True, "splits": {"test": ("a",)}}}, "both 'splits' and 'folds'"),
        ({"files": {"train": "x.bed"}}, "the layout 'bend' needs all, and may have genome, labels"),
        ({"ways": ("soft_prompt",)}, "unknown way 'soft_prompt'"),
        ({"metrics": ("mcc",)}, "unknown metric 'mcc'"),
        ({"kind": "per_position", "metrics": ("mcc", "auroc")}, "give two cards"),
        ({"kind": "per_position", "metrics": ("auroc",)}, "regions.label_count is 3"),
        ({"kind": "per_position", "regions": {"length": 9}}, "regions.length has no meaning"),
        ({"kind": "per_position", "regions": {"layout": "deepsea"}}, "needs test, train, valid"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(folder, changes, message):
    with pytest.raises(ConfigError, match=message):
        card(folder, **changes)


def test_a_card_without_regions_is_refused(folder):
    with pytest.raises(ConfigError, match="regions is missing; a task of kind 'multilabel'"):
        replace(card(folder), regions=None)
