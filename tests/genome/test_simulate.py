"""The simulated genome as a whole: truth, files, cache, errors."""

import hashlib
import json
import re
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.simulate import (
    SimulatedGenome,
    SimulationConfig,
    simulate,
    simulated_genome_path,
)
from lightning_dna.settings import build

SMALL = SimulationConfig(chromosomes=3, chromosome_length=25_000, genes_per_chromosome=4)
TINY = SimulationConfig(chromosomes=1, chromosome_length=8000, genes_per_chromosome=1)


@pytest.fixture(scope="module")
def genome() -> SimulatedGenome:
    return simulate(SMALL)


def read_fasta(path: Path) -> dict[str, str]:
    records = path.read_text().split(">")[1:]
    return {r.split("\n", 1)[0]: r.split("\n", 1)[1].replace("\n", "") for r in records}


def test_shape_and_letters(genome: SimulatedGenome) -> None:
    assert list(genome.sequences) == ["chr1", "chr2", "chr3"]
    assert {len(sequence) for sequence in genome.sequences.values()} == {25_000}
    assert set("".join(genome.sequences.values())) == set("ACGTacgt")


def test_the_same_settings_make_the_same_genome_everywhere(genome: SimulatedGenome) -> None:
    assert simulate(SMALL).sequences == genome.sequences
    # Pinned: whoever changes what a seed makes must also raise SIMULATOR_VERSION.
    letters = "".join(genome.sequences.values()).encode()
    assert hashlib.sha256(letters).hexdigest()[:16] == "c2fe790f970136b0"


def test_the_seed_matters_and_zero_is_a_seed(genome: SimulatedGenome) -> None:
    other = simulate(replace(SMALL, seed=1))
    assert other.sequences["chr1"] != genome.sequences["chr1"]
    assert not np.allclose(other.codon_usage, genome.codon_usage)


def test_adding_a_chromosome_changes_no_other(genome: SimulatedGenome) -> None:
    more = simulate(replace(SMALL, chromosomes=4))
    assert {name: more.sequences[name] for name in genome.sequences} == genome.sequences


def test_lower_case_is_exactly_the_repeats(genome: SimulatedGenome) -> None:
    for chrom, sequence in genome.sequences.items():
        flags = np.zeros(len(sequence), dtype=bool)
        for copy in genome.repeats:
            if copy.chrom == chrom:
                flags[copy.start : copy.end] = True
        assert np.array_equal(flags, [letter.islower() for letter in sequence])
        assert 0.3 <= flags.mean() < 0.37


def test_every_family_is_on_every_chromosome(genome: SimulatedGenome) -> None:
    found = {(copy.chrom, copy.family) for copy in genome.repeats}
    assert found == {(c, f.name) for c in genome.sequences for f in genome.families}


def test_genes_and_repeats_leave_each_other_alone(genome: SimulatedGenome) -> None:
    in_introns = 0
    for gene in genome.genes:
        needed = [*gene.exons, gene.promoter.upstream, gene.promoter.downstream]
        for start, end in needed:
            letters = genome.sequences[gene.chrom][start:end]
            assert letters == letters.upper()
        in_introns += sum(
            copy.chrom == gene.chrom and gene.start < copy.start < gene.end
            for copy in genome.repeats
        )
    assert in_introns > 0
    for first, second in pairwise(genome.genes):
        assert first.chrom != second.chrom or first.end < second.start


def test_isochores_differ_in_gc(genome: SimulatedGenome) -> None:
    wide = simulate(
        replace(
            SMALL, genes_per_chromosome=0, repeat_fraction=0.0, gc_levels=(0.3, 0.6), chromosomes=1
        )
    )
    assert wide.genes == wide.repeats == ()
    assert {row.gc for row in wide.isochores} == {0.3, 0.6}
    position = 0
    for row in wide.isochores:
        assert row.start == position
        letters = wide.sequences["chr1"][row.start : row.end]
        seen = sum(letter in "GC" for letter in letters) / len(letters)
        # Neighbouring bases depend on each other, so allow seven independent standard errors.
        assert seen == pytest.approx(row.gc, abs=7 * 0.5 / len(letters) ** 0.5)
        position = row.end
    assert position == 25_000


def test_repeats_can_be_learned_by_copying_from_another_chromosome(
    genome: SimulatedGenome,
) -> None:
    after: dict[str, list[str]] = {}
    memory = (genome.sequences["chr1"] + genome.sequences["chr2"]).upper()
    for i in range(12, len(memory)):
        after.setdefault(memory[i - 12 : i], []).append(memory[i])
    held_out = genome.sequences["chr3"]
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for i in range(12, len(held_out)):
        seen = after.get(held_out[i - 12 : i].upper())
        if seen:
            guess = max("ACGT", key=seen.count)
            repeat = held_out[i - 12 : i].islower() and held_out[i].islower()
            hits[repeat].append(guess == held_out[i].upper())
    assert len(hits[True]) > 1000
    assert np.mean(hits[True]) > 0.75
    assert np.mean(hits[False]) < 0.45


def test_files_say_what_the_tables_say(genome: SimulatedGenome, tmp_path: Path) -> None:
    fasta = genome.write(tmp_path / "made" / "here")
    assert fasta == tmp_path / "made" / "here" / "genome.fa"
    assert read_fasta(fasta) == genome.sequences
    assert max(map(len, fasta.read_text().splitlines())) == 60
    bed = [line.split("\t") for line in (fasta.parent / "repeats.bed").read_text().splitlines()]
    assert [(row[0], int(row[1]), int(row[2]), row[3], row[5]) for row in bed] == [
        (copy.chrom, copy.start, copy.end, copy.family, copy.strand) for copy in genome.repeats
    ]
    assert [float(row[6]) for row in bed] == pytest.approx(
        [copy.divergence for copy in genome.repeats], abs=1e-4
    )
    truth = json.loads((fasta.parent / "truth.json").read_text())
    assert truth["config"]["chromosome_length"] == 25_000
    assert len(truth["genes"]) == 12
    assert truth["repeats"][0]["start"] == genome.repeats[0].start
    assert {len(f["consensus"]) for f in truth["families"]} == {
        len(f.consensus) for f in genome.families
    }
    assert sorted(path.name for path in fasta.parent.iterdir()) == [
        "annotation.gtf",
        "genome.fa",
        "repeats.bed",
        "truth.json",
    ]


def test_writing_where_one_cannot_is_a_data_error(genome: SimulatedGenome, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot write the simulated genome to"):
        genome.write(tmp_path / "file" / "below")


def test_old_families_have_diverged_more(genome: SimulatedGenome) -> None:
    means = {
        family.name: np.mean([c.divergence for c in genome.repeats if c.family == family.name])
        for family in genome.families
    }
    ages = {family.name: family.divergence for family in genome.families}
    assert sorted(means, key=means.__getitem__) == sorted(ages, key=ages.__getitem__)
    for name, age in ages.items():
        assert means[name] == pytest.approx(age, rel=0.5)


def test_the_cache_is_filled_once(tmp_path: Path) -> None:
    path = simulated_genome_path(TINY, tmp_path)
    assert read_fasta(path) == simulate(TINY).sequences
    assert (path.parent / "annotation.gtf").is_file()
    stamp = path.stat().st_mtime_ns
    assert simulated_genome_path(TINY, tmp_path) == path
    assert path.stat().st_mtime_ns == stamp
    assert simulated_genome_path(replace(TINY, seed=1), tmp_path) != path


def test_the_default_cache_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = simulated_genome_path(TINY)
    assert path.is_relative_to(tmp_path / "lightning_dna" / "simulated")


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    path = simulated_genome_path(TINY, tmp_path)
    path.unlink()  # a folder without its FASTA file is not finished
    leftover = tmp_path / f"{path.parent.name}-killed"
    leftover.mkdir()
    (leftover / "half").write_text("ACG")
    assert simulated_genome_path(TINY, tmp_path) == path
    assert path.is_file()
    assert not leftover.exists()


def test_several_processes_may_ask_at_once(tmp_path: Path) -> None:
    with get_context("spawn").Pool(3) as pool:
        paths = pool.starmap(simulated_genome_path, [(TINY, tmp_path)] * 6)
    assert len(set(paths)) == 1
    assert read_fasta(paths[0]) == simulate(TINY).sequences
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [paths[0].parent.name]


def test_a_cache_that_cannot_be_written_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="XDG_CACHE_HOME"):
        simulated_genome_path(TINY, tmp_path / "file")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed is -1; allowed: 0 or more"),
        ({"chromosomes": 0}, "chromosomes is 0; allowed: 1 to 1000"),
        ({"chromosome_length": 100}, "chromosome_length is 100; allowed: 5000 or more"),
        ({"repeat_fraction": 0.95}, "repeat_fraction is 0.95; allowed: 0.0 to 0.8"),
        ({"repeat_fraction": float("nan")}, "repeat_fraction is nan"),
        ({"divergence": 0.6}, "divergence is 0.6; allowed: 0.0 to 0.3"),
        ({"gc_levels": ()}, "gc_levels is []"),
        ({"gc_levels": (0.4, 0.9)}, "between 0.2 and 0.8"),
        ({"repeat_families": 0}, "repeat_families is 0 while repeat_fraction is 0.3"),
        ({"isochore_length": 0}, "isochore_length is 0; allowed: 100 or more"),
    ],
)
def test_settings_out_of_range(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        SimulationConfig(**changes)  # type: ignore[arg-type]


def test_too_many_genes_is_an_error_that_says_what_to_change() -> None:
    with pytest.raises(ConfigError, match=r"simulated chr1: 40 genes need \d+ bases"):
        simulate(replace(TINY, genes_per_chromosome=40))


def test_settings_come_from_yaml() -> None:
    config = build(SimulationConfig, {"seed": 3, "gc_levels": [0.3, 0.5]}, where="recipe.yaml")
    assert config == SimulationConfig(seed=3, gc_levels=(0.3, 0.5))
