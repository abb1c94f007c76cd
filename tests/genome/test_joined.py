"""Several genomes as one: names, bases, digests, and what a process gets by pickle."""

import pickle

import numpy as np
import pytest

from lightning_dna.errors import ConfigError
from lightning_dna.genome.digest import refget_digest
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.joined import JoinedGenome, joined_name, split_name


@pytest.fixture
def joined():
    return JoinedGenome(
        {
            "yeast": Genome.from_sequences({"I": "ACGTnn", "II": "acgt"}),
            "worm": Genome.from_sequences({"I": "GGGGGCC"}),
        }
    )


def test_chromosomes_of_the_same_name_stay_apart(joined):
    assert joined.names == ("yeast:I", "yeast:II", "worm:I")
    assert joined.lengths == {"yeast:I": 6, "yeast:II": 4, "worm:I": 7}
    assert joined.soft_masked == {"yeast:I": 2, "yeast:II": 4, "worm:I": 0}
    assert joined.codes("yeast:I").tolist() == [0, 1, 2, 3, 4, 4]
    assert joined.codes("worm:I", 4, 7).tolist() == [2, 1, 1]
    assert joined.digests["worm:I"] == refget_digest("GGGGGCC")


def test_names_without_their_genome_are_refused(joined):
    with pytest.raises(ConfigError, match="unknown chromosome 'I'; allowed: worm:I, yeast:I, yea"):
        joined.stored("I")


def test_bases_are_not_copied(joined):
    member = joined.members["yeast"].stored("I")
    assert np.shares_memory(joined.stored("yeast:I"), member)


def test_the_digest_depends_on_names_order_and_bases():
    one, other = Genome.from_sequences({"I": "ACGT"}), Genome.from_sequences({"I": "ACGA"})
    digests = {
        JoinedGenome(members).digest
        for members in (
            {"a": one, "b": other},
            {"b": other, "a": one},
            {"a": other, "b": one},
            {"a": one, "c": other},
        )
    }
    assert len(digests) == 4
    assert JoinedGenome({"a": one, "b": other}).digest in digests


def test_pickle_brings_the_members(joined, tmp_path):
    path = tmp_path / "toy.fa"
    path.write_text(">I\nACGTACGT\n")
    stored = JoinedGenome({"a": Genome.open(path, cache_folder=tmp_path), **joined.members})
    content = pickle.dumps(stored)
    again = pickle.loads(content)  # noqa: S301 - made here
    assert again.digest == stored.digest
    assert again.codes("a:I").tolist() == [0, 1, 2, 3] * 2
    assert list(again.members) == ["a", "yeast", "worm"]


def test_some_chromosomes_are_a_genome_of_their_own(joined):
    part = joined.select(["worm:I", "yeast:I"])
    assert part.names == ("yeast:I", "worm:I")
    assert part.lengths == {"yeast:I": 6, "worm:I": 7}
    assert np.shares_memory(part.stored("worm:I"), joined.stored("worm:I"))
    assert part.digest != joined.digest
    with pytest.raises(ConfigError, match="unknown chromosome 'I'"):
        joined.select(["I"])


@pytest.mark.parametrize("chrom", ["chr1", "chr1:100-200", "a b"])
def test_names_come_apart_as_they_were_put_together(chrom):
    assert split_name(joined_name("human", chrom)) == ("human", chrom)
