"""Strata of windows and pairs of equal ones, against counting by hand."""

from collections import Counter

import numpy as np
import pytest

from lightning_dna.data.windows import tile
from lightning_dna.errors import DataError
from lightning_dna.genome.annotation import Annotation
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.joined import JoinedGenome
from lightning_dna.tasks.strata import GenomeStrata, JoinedStrata
from lightning_dna.tasks.window_matching import matched_pairs, window_strata


def names_of(sequence: str, length: int) -> list[str]:
    genome = Genome.from_sequences({"1": sequence})
    return window_strata(genome, tile(genome, ["1"], length=length)).tolist()


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("ACGTACGTAC", "no repeat, gc_50_55"),
        ("aCGTACGTAC", "repeat to 10 %, gc_50_55"),
        ("acGTACGTAC", "repeat to 50 %, gc_50_55"),
        ("acgtaCGTAC", "repeat to 50 %, gc_50_55"),
        ("acgtacgtaC", "repeat to 90 %, gc_50_55"),
        ("acgtacgtac", "repeat above 90 %, gc_50_55"),
        ("AAAAAAAAAA", "no repeat, gc_0_25"),
        ("GGGAAAAAAA", "no repeat, gc_30_35"),
        ("GGGNAAAAAA", "no repeat, gc_30_35"),  # 3 of 9 known bases
        ("GGGGGGGCAA", "no repeat, gc_65_100"),
    ],
)
def test_strata_of_a_window(window, expected):
    assert names_of(window, 10) == [expected]


@pytest.fixture
def annotation(tmp_path) -> Annotation:
    """A gene on each chromosome, bases 20 to 60, of which 20 to 40 are coding."""
    lines = []
    for chrom in ("1", "2"):
        ids = f'gene_id "g{chrom}"; transcript_id "t{chrom}";'
        row = f"{chrom}\tx\t{{}}\t{{}}\t{{}}\t.\t+\t{{}}\t{ids}"
        lines += [
            row.format("gene", 21, 60, "."),
            row.format("transcript", 21, 60, "."),
            row.format("exon", 21, 40, "."),
            row.format("CDS", 21, 40, "0"),
            row.format("exon", 51, 60, "."),
        ]
    (tmp_path / "a.gtf").write_text("\n".join(lines) + "\n")
    return Annotation.read(tmp_path / "a.gtf", {"1": 80, "2": 80})


def test_region_is_the_one_of_most_bases_and_codon_positions_count_together(annotation):
    sequence = "ACGT" * 20
    genome = Genome.from_sequences({"1": sequence, "2": sequence})
    windows = tile(genome, ["1", "2"], length=20)
    strata = GenomeStrata(annotation)
    found = [name.rpartition(", ")[2] for name in window_strata(genome, windows, strata)]
    assert found[1] == "coding"
    assert found[0] == "promoter"
    assert found[:4] == found[4:]
    # Of bases 40 to 60 half are in the gene's promoter and half in its last exon, which codes for
    # nothing: the first in the order of the strata decides.
    assert found[2] == "promoter"


def test_windows_of_several_genomes_are_never_paired_across_them():
    genome = JoinedGenome(
        {name: Genome.from_sequences({"1": "ACGT" * 10}) for name in ("yeast", "worm")}
    )
    windows = tile(genome, genome.names, length=20)
    strata = JoinedStrata({"yeast": None, "worm": None})
    assert window_strata(genome, windows, strata).tolist() == [
        *["no repeat, gc_50_55, yeast"] * 2,
        *["no repeat, gc_50_55, worm"] * 2,
    ]


@pytest.mark.parametrize("seed", range(5))
def test_pairs_have_equal_strata_and_leave_out_no_more_than_they_must(seed):
    rng = np.random.default_rng(seed)
    first, second = (
        rng.choice([*"abcdef"], size, p=p) for size, p in ((90, None), (60, [0.5] + [0.1] * 5))
    )
    found = matched_pairs(first, second, seed=seed)
    counts = Counter(first.tolist()), Counter(second.tolist())
    expected = {name: min(counts[0][name], counts[1][name]) for name in "abcdef"}
    for side, chosen in ((first, found.first), (second, found.second)):
        assert Counter(side[chosen].tolist()) == Counter(expected)
        assert (np.diff(chosen) > 0).all()
    lacking = {name: counts[1][name] - expected[name] for name in "abcdef"}
    assert found.unmatched == sum(lacking.values())
    assert lacking[found.worst] == max(lacking.values()) if found.unmatched else found.worst == ""


def test_every_window_of_the_larger_side_is_as_likely():
    first, second = np.array(["a"] * 8), np.array(["a"] * 2)
    drawn = Counter()
    for seed in range(800):
        drawn.update(matched_pairs(first, second, seed=seed).first.tolist())
    assert set(drawn) == set(range(8))
    assert max(abs(count - 200) for count in drawn.values()) < 60  # standard deviation 12


def test_a_limit_keeps_pairs_and_the_choice_depends_on_the_seed():
    strata = np.array(["a"] * 30 + ["b"] * 30)
    found = matched_pairs(strata, strata, seed=1, most=20)
    assert Counter(strata[found.first]) == Counter(strata[found.second])
    assert (len(found), found.unmatched) == (20, 0)
    again = matched_pairs(strata, strata, seed=1, most=20)
    assert again.first.tolist() == found.first.tolist()
    assert matched_pairs(strata, strata, seed=2, most=20).first.tolist() != found.first.tolist()


def test_nothing_to_pair():
    with pytest.raises(
        DataError, match="none of the 2 and 1 windows of the two sides have the same"
    ):
        matched_pairs(np.array(["a", "b"]), np.array(["c"]), seed=0)
