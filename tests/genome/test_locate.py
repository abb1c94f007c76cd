"""Where sequences stand in a genome, against Python's own search; how intervals lie to others."""

import numpy as np
import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome import locate as module
from lightning_dna.genome.alphabet import encode
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.locate import locate
from lightning_dna.genome.nearest import FAR, Places, nearness
from lightning_dna.tasks.audit_parts import read_audit_part

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def every_place(sequence, chroms):
    """All (chromosome, start, reverse) by searching the letters from every position."""
    found = []
    back = sequence[::-1].translate(COMPLEMENT)
    for index, letters in enumerate(chroms.values()):
        for turned, word in ((False, sequence), (True, back)):
            if turned and back == sequence:
                continue
            at = letters.find(word)
            while at >= 0:
                found.append((index, at, turned))
                at = letters.find(word, at + 1)
    return sorted(found)


@pytest.mark.parametrize("chunk", [50, 1 << 22])
def test_every_place_on_both_strands(monkeypatch, chunk):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    rng = np.random.default_rng(0)
    unit = "".join(rng.choice(list("ACGT"), 70))
    rest = "".join(rng.choice(list("ACGT"), 400))
    chroms = {
        "I": rest[:100] + unit + rest[100:150] + unit[::-1].translate(COMPLEMENT) + "NNNN" + rest,
        "II": unit + unit + "ACGT" * 12,
        "III": "ACG",
    }
    queries = [
        unit,
        unit[::-1].translate(COMPLEMENT),
        unit[5:40],
        unit[:20],  # shorter than the seed
        "ACGT" * 8,  # its own reverse complement, at many places
        rest[:30] + "NNNN" + rest[:30],
        "N" + unit[:33],
        chroms["I"][238:300],  # holds N before its seed
        "ACGTACGTACG",  # no seed at all
        "A" * 40,
        "",
    ]
    found = locate([encode(one) for one in queries], Genome.from_sequences(chroms))
    for row, query in enumerate(queries):
        mine = found.query == row
        places = [
            *zip(found.chrom_index[mine], found.start[mine], found.reverse[mine], strict=True)
        ]
        expected = every_place(query, chroms) if found.searched[row] else []
        assert sorted(places) == expected, query
        assert found.n_hits[row] == len(expected)
    assert found.n_hits.tolist()[:4] == [4, 4, 4, 4]
    assert found.searched.tolist() == [True] * 8 + [False, True, False]
    assert (found.end - found.start == found.lengths[found.query]).all()
    first = found.first
    assert found.chrom_index[first[1]] == 0
    assert first[9] == -1


def test_only_some_chromosomes():
    genome = Genome.from_sequences({"I": "ACGTTGCAACGGATTACAGG", "II": "ACGTTGCAACGGATTACAGG"})
    found = locate([encode("ACGTTGCAACGGATTACA")], genome, chroms=["II"])
    assert (found.chroms, found.start.tolist()) == (("II",), [0])
    with pytest.raises(ConfigError, match="unknown chromosome 'V'"):
        locate([encode("ACGTTGCAACGGATTACA")], genome, chroms=["V"])


@pytest.mark.parametrize("k", [15, 32])
def test_seeds_out_of_range_are_refused(k):
    with pytest.raises(ConfigError, match=f"k is {k}; allowed"):
        locate([encode("ACGT")], Genome.from_sequences({"I": "ACGT"}), k=k)


def test_nothing_to_locate():
    assert len(locate([], Genome.from_sequences({"I": "ACGT"})).query) == 0


def random_places(rng, n):
    rows = []
    for _ in range(n):
        start = int(rng.integers(0, 3_000))
        known = rng.random() > 0.1
        row = (f"chr{rng.integers(4)}", start, start + int(rng.integers(1, 60)))
        rows.append(row if known else None)
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_nearness_against_all_pairs(seed):
    rng = np.random.default_rng(seed)
    mine, others = random_places(rng, 80), random_places(rng, 60)
    others += [mine[3]]
    found = nearness(Places.of(mine), Places.of(others))
    for row, place in enumerate(mine):
        there = [one for one in others if place and one and one[0] == place[0]]
        if not there:
            assert (found.overlap[row], found.distance[row]) == (0, FAR)
            continue
        bases = set(range(place[1], place[2]))
        covered = set().union(*(range(one[1], one[2]) for one in there))
        gaps = [max(one[1] - place[2], place[1] - one[2], 0) for one in there]
        assert found.overlap[row] == len(bases & covered)
        assert found.distance[row] == min(gaps)
        assert found.identical[row] == (place in there)


def test_places_of_nothing():
    found = nearness(Places.of([("I", 0, 5)]), Places.of([None]))
    assert found.distance.tolist() == [FAR]


@pytest.mark.parametrize("row", [("I", 5, 5), ("I", -1, 5), ("I", 7, 5)])
def test_empty_intervals_are_refused(row):
    with pytest.raises(DataError, match="0 <= start < end"):
        Places.of([row])


def test_columns_of_different_length_are_refused():
    with pytest.raises(DataError, match="differ in number"):
        Places(chrom=np.array(["I"]), start=np.array([0, 1]), end=np.array([5, 6]))


@pytest.mark.data
def test_yeast_histone_examples_stand_in_the_yeast_genome(data_folder):
    """The counts in the PROVENANCE file of the data, made with another program."""
    genome = Genome.open(data_folder / "saccer3" / "sacCer3.softmask.fa.gz")
    part = read_audit_part(data_folder / "gue" / "GUE" / "EMP" / "H3" / "test.csv.gz", "test")
    found = locate(part.codes, genome)
    assert len(part) == 1_497
    assert int((found.n_hits > 0).sum()) == 1_445
    assert not found.reverse.any()
    assert len(set(found.chrom_index.tolist())) == 16
