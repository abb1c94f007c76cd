"""Species classification: where windows come from, what is refused, what a leak is worth."""

import gzip
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import N, decode
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.tasks.baselines.kmer_logistic import kmer_logistic
from lightning_dna.tasks.card import load_card
from lightning_dna.tasks.kinds import open_task

PARTS = ("train", "valid", "test")


@pytest.fixture
def folder(tmp_path):
    """Three genomes of three chromosomes of 3 kb; those of the third are a quarter N."""
    generator = np.random.default_rng(5)
    for name, letters in (("fly", "AACGT"), ("worm", "ACGTT"), ("moss", "ACCGGT")):
        with (tmp_path / f"{name}.fa").open("w") as file:
            for chrom in ("1", "2", "3"):
                bases = "".join(generator.choice([*letters], 3000))
                if name == "moss":
                    bases = bases[:1000] + "N" * 750 + bases[1750:]
                file.write(f">{chrom}\n{bases[:100].lower()}{bases[100:]}\n")
    return tmp_path


def card_of(folder, *, remove=(), **changes):
    species = {
        "chromosomes": {
            name: {"train": ["1"], "valid": ["2"], "test": ["3"]}
            for name in ("fly", "worm", "moss")
        },
        "length": 50,
        "windows": {"train": 30, "valid": 10, "test": 20},
        "cluster_length": 500,
    }
    content = {
        "name": "kinds",
        "kind": "species",
        "title": "Which species?",
        "files": {name: f"{name}.fa" for name in ("fly", "worm", "moss")},
        "ways": ["frozen"],
    }
    for key, value in changes.items():
        (species if key in {*species, "protocol", "seen", "seed", "max_n_fraction"} else content)[
            key
        ] = value
    content["species"] = species
    for key in remove:
        del content[key]
    path = folder / "kinds.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_card(path)


def task_of(folder, *, genome=None, train=("x",), test=("y",), **changes):
    genome = genome or Genome.from_sequences({"x": "ACGT" * 20, "y": "GGCC" * 20})
    split = ChromosomeSplit(train=train, valid=(), test=test)
    around = SimpleNamespace(genome=genome, split=split, tasks_root=None)
    return open_task(card_of(folder, **changes), around)


def test_windows_are_cut_from_the_chromosomes_of_their_part(folder):
    task = task_of(folder).examples
    assert task.classes == ("fly", "worm", "moss")
    genomes = {name: Genome.open(folder / f"{name}.fa") for name in task.classes}
    chroms = {"train": "1", "valid": "2", "test": "3"}
    for part, count in zip(PARTS, (30, 10, 20), strict=True):
        examples = getattr(task, part)
        assert np.bincount(examples.labels).tolist() == [count] * 3
        for codes, label, name, cluster, place in zip(
            examples.codes,
            examples.labels,
            examples.ids,
            examples.clusters,
            examples.coordinates,
            strict=True,
        ):
            species = task.classes[label]
            given, found, chrom, where = name.split(":")
            start, end = map(int, where.split("-"))
            assert (given, found, chrom, end - start) == (part, species, chroms[part], 50)
            assert (codes == genomes[species].codes(chrom, start, end)).all()
            assert cluster == f"{species}:{chrom}:{start // 500}"
            assert str(place) == f"{species}:{chrom}:{start}-{end}"


def test_no_place_is_drawn_twice_and_few_n(folder):
    examples = task_of(folder, windows={"train": 500, "valid": 10, "test": 10}).examples.train
    assert len(set(examples.ids)) == 1500
    unknown = [np.count_nonzero(codes == N) for codes in examples.codes]
    assert 0 < max(unknown) <= 5


def test_the_seed_is_of_the_task(folder):
    first, again = (task_of(folder).examples.test.ids for _ in range(2))
    assert first == again
    assert set(first) != set(task_of(folder, seed=1).examples.test.ids)


def test_places_are_alike(folder):
    examples = task_of(folder, windows={"train": 2000, "valid": 10, "test": 10}).examples.train
    starts = [int(name.split(":")[3].split("-")[0]) for name in examples.ids[:2000]]
    counts = np.histogram(starts, bins=6, range=(0, 2951))[0]
    assert counts.min() > 280


def test_windows_of_the_published_protocol_come_from_everywhere(folder):
    task = task_of(folder, protocol="published", windows={"train": 600, "valid": 100, "test": 300})
    for part in PARTS:
        assert {name.split(":")[2] for name in getattr(task.examples, part).ids} == {*"123"}
    assert "kinds: Windows of all parts come from the same chromosomes" in task.notes[0]

    def covered(part):
        places = [str(one).rsplit(":", 1) for one in getattr(task.examples, part).coordinates]
        return {(c, base) for c, s in places for base in range(*map(int, s.split("-")))}

    assert len(covered("test") & covered("train")) > 0.9 * len(covered("test"))
    held_out = task_of(folder)
    assert held_out.notes == ()


def test_a_leak_shows_in_the_scores(folder):
    """Of random sequence that two species have alike, nothing is learned but by heart."""
    generator = np.random.default_rng(0)
    for name in ("fly", "worm"):
        letters = ("".join(generator.choice([*"ACGT"], 3000)) for _ in range(3))
        text = "".join(f">{n}\n{bases}\n" for n, bases in enumerate(letters, start=1))
        (folder / f"{name}.fa").write_text(text)
    chromosomes = {n: {"train": ["1"], "valid": ["2"], "test": ["3"]} for n in ("fly", "worm")}
    changes = {
        "chromosomes": chromosomes,
        "files": {"fly": "fly.fa", "worm": "worm.fa"},
        "windows": {"train": 500, "valid": 100, "test": 200},
    }
    accuracy = {}
    for protocol in ("held_out", "published"):
        task = task_of(folder, protocol=protocol, **changes).examples
        found, _ = kmer_logistic(task.train, task.valid, task.test.codes, n_classes=2)
        accuracy[protocol] = (found.argmax(axis=1) == task.test.labels).mean()
    assert accuracy["held_out"] == pytest.approx(0.5, abs=0.1)
    assert accuracy["published"] > accuracy["held_out"] + 0.1


def test_pretraining_on_a_test_chromosome_is_refused_or_said(folder):
    genome = Genome.open(folder / "fly.fa")
    training = {"genome": genome, "train": ("1", "3"), "test": ("2",)}
    with pytest.raises(ConfigError, match="test chromosome 'fly:3' is among those of pretraining"):
        task_of(folder, **training).load()
    task = task_of(folder, seen="allow", **training)
    task.load()
    assert task.seen == ("fly:3",)
    assert task.notes == ("kinds: Pretraining read the test chromosomes fly:3 (seen: allow).",)
    held_out = task_of(folder, genome=genome, train=("1", "2"), test=("3",))
    held_out.load()
    assert held_out.seen == ()


def test_the_same_letters_are_found_under_any_name_and_case(folder):
    letters = decode(Genome.open(folder / "worm.fa").codes("3"))
    genome = Genome.from_sequences({"chrX": letters.lower(), "chrY": "ACGT" * 9})
    with pytest.raises(ConfigError, match="'worm:3' is among those of pretraining, as 'chrX'"):
        task_of(folder, genome=genome, train=("chrX",), test=("chrY",)).load()


def test_in_the_published_protocol_every_chromosome_is_tested(folder):
    genome = Genome.open(folder / "fly.fa")
    with pytest.raises(ConfigError, match=r"'fly:1' is among .*\(2 of them in all\)"):
        task_of(folder, genome=genome, train=("1", "2"), test=("3",), protocol="published").load()


def test_clusters_can_be_chromosomes(folder):
    assert set(task_of(folder, unit="chromosome").examples.test.clusters) == {
        "fly:3",
        "worm:3",
        "moss:3",
    }


def test_what_decides_the_scores_is_the_windows(folder):
    first = task_of(folder).content()
    assert first == task_of(folder).content()
    assert first != task_of(folder, seed=1).content()


HUMAN = ("3_42000000_44000000", "4_103000000_105000000", "5_124000000_126000000")
ONE = {"train": ["1"], "valid": ["2"], "test": ["3"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"remove": ["species"]}, "species is missing; give the chromosomes of each species"),
        ({"chromosomes": {"fly": {**ONE, "tset": ["4"]}, "worm": ONE}}, "unknown key 'tset'"),
        ({"remove": ["files"]}, "without a file: fly, moss, worm"),
        ({"files": {"fly": "fly.fa", "wrom": "worm.fa"}}, "without chromosomes: wrom"),
        ({"chromosomes": {"fly": ONE}}, "names 1 species; two or more are needed to tell apart"),
        (
            {"chromosomes": {"fly": ONE, "worm": {"train": ["1"], "valid": ["2"]}}},
            "worm has no chromosome for test; each part needs one of its own",
        ),
        (
            {"chromosomes": {"fly": ONE, "worm": {}}, "protocol": "published"},
            "worm has no chromosome for train, valid, test",
        ),
        (
            {"chromosomes": {"fly": ONE, "worm": {**ONE, "test": ["1"]}}},
            "'1' stands in train and in test; a chromosome has one place",
        ),
        ({"windows": {"train": 0}}, "species.windows.train is 0; allowed: 1 or more"),
        ({"length": 0}, "species.length is 0; allowed: 1 or more"),
        ({"seed": -1}, "species.seed is -1; allowed: 0 or more"),
        ({"max_n_fraction": 1.0}, "species.max_n_fraction is 1.0; allowed: from 0 to below 1"),
        ({"protocol": "leaky"}, "unknown value 'leaky'; allowed: held_out, published"),
        ({"seen": "ignore"}, "unknown value 'ignore'; allowed: allow, refuse"),
        ({"unit": "gene"}, "unit 'gene' has no meaning for windows of species"),
        ({"carve": {"fraction": 0.1}}, "carve has no meaning for a task of kind 'species'"),
    ],
)
def test_cards_without_meaning_are_refused(folder, changes, message):
    with pytest.raises(ConfigError, match=message):
        card_of(folder, **changes)


def test_an_unknown_chromosome_is_told_with_its_species(folder):
    chromosomes = {"fly": ONE, "worm": {**ONE, "test": ["4"]}, "moss": ONE}
    message = "task 'kinds', species.chromosomes.worm.test: unknown chromosome '4'; allowed: 1, 2"
    with pytest.raises(ConfigError, match=message):
        task_of(folder, chromosomes=chromosomes).load()


def test_chromosomes_are_found_with_and_without_chr(folder):
    named = {"train": ["chr1"], "valid": ["chr2"], "test": ["chr3"]}
    changes = {"chromosomes": {"fly": named, "worm": ONE, "moss": ONE}}
    assert task_of(folder, **changes).examples.test.ids == task_of(folder).examples.test.ids


def test_one_sequence_in_two_parts_or_two_species_is_refused(folder):
    worm = (folder / "worm.fa").read_text()
    (folder / "worm.fa").write_text(worm + worm.partition(">2")[0].replace(">1", ">4").upper())
    chromosomes = {"fly": ONE, "worm": {**ONE, "test": ["4"]}, "moss": ONE}
    message = r"worm:1 \(train\) and worm:4 \(test\) are the same sequence"
    with pytest.raises(DataError, match=message):
        task_of(folder, chromosomes=chromosomes).load()
    (folder / "worm.fa").write_text((folder / "fly.fa").read_text())
    with pytest.raises(DataError, match=r"fly:1 \(train\) and worm:1 \(train\) are the same seq"):
        task_of(folder).load()


def test_too_few_places_are_told(folder):
    message = r"the test chromosomes of fly \(3\) have places for 2951 windows of 50 bases .* 3000"
    with pytest.raises(DataError, match=message):
        task_of(folder, windows={"train": 3, "valid": 3, "test": 3000}).load()
    with pytest.raises(DataError, match="places for 0 windows of 5000 bases"):
        task_of(folder, length=5000).load()


def test_a_missing_file_and_a_wrong_checksum_are_told(folder):
    with pytest.raises(DataError, match=r"sha256 found: .*expects 000"):
        task_of(folder, sha256={"fly": "0" * 64}).load()
    (folder / "moss.fa").unlink()
    with pytest.raises(DataError, match=r"task 'kinds': missing files: moss: moss.fa"):
        task_of(folder).load()


@pytest.mark.data
def test_one_locus_of_each_species_allows_the_leaky_protocol_alone(folder, data_folder):
    loci = data_folder / "human-windows/orthologs_softmasked"
    files = {name: str(loci / f"{name}.fa.gz") for name in ("hg38", "mm10", "galGal4")}
    names = {name: Genome.open(path).names for name, path in files.items()}
    assert all(len(chroms) == 1 for chroms in names.values())
    chromosomes = {name: {"train": [*chroms]} for name, chroms in names.items()}
    with pytest.raises(ConfigError, match="hg38 has no chromosome for valid, test; each part"):
        task_of(folder, files=files, chromosomes=chromosomes).load()
    task = task_of(folder, files=files, chromosomes=chromosomes, protocol="published").examples
    assert task.classes == ("hg38", "mm10", "galGal4")
    assert np.bincount(task.test.labels).tolist() == [20, 20, 20]


@pytest.mark.data
def test_yeast_against_human(folder, data_folder):
    windows = data_folder / "human-windows"
    human = folder / "human.fa"
    parts = (windows / f"hg19.chr{part}.fa.gz" for part in HUMAN)
    human.write_bytes(b"".join(gzip.decompress(part.read_bytes()) for part in parts))
    task = task_of(
        folder,
        files={"yeast": str(data_folder / "saccer3/sacCer3.softmask.fa.gz"), "human": str(human)},
        chromosomes={
            "yeast": {"train": ["chrII", "chrIV"], "valid": ["chrIII"], "test": ["chrI"]},
            "human": {"train": ["chr3"], "valid": ["chr5"], "test": ["chr4"]},
        },
        length=512,
        windows={"train": 200, "valid": 50, "test": 200},
    ).examples
    found, _ = kmer_logistic(task.train, task.valid, task.test.codes, n_classes=2)
    assert (found.argmax(axis=1) == task.test.labels).mean() > 0.85
