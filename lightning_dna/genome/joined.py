"""Several genomes as one: their chromosomes side by side, named ``NAME:chrom``."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from lightning_dna.errors import DataError
from lightning_dna.genome.fasta import Genome

SEPARATOR = ":"


class JoinedGenome(Genome):
    """Several genomes as one, without a copy of their bases.

    Everything that works on the chromosomes of a genome works on those of all its members, and
    chromosomes of the same name cannot be confused. A process that receives it by pickle maps the
    members' stores again.

    Args:
        members: Name to genome, in the order in which their chromosomes follow each other.

    Attributes:
        members: The same.

    Example:
        >>> one, other = (Genome.from_sequences({"I": letters}) for letters in ("ACGT", "GGCC"))
        >>> joined = JoinedGenome({"yeast": one, "worm": other})
        >>> joined.names, joined.codes("worm:I").tolist()
        (('yeast:I', 'worm:I'), [2, 2, 1, 1])
    """

    def __init__(self, members: Mapping[str, Genome]) -> None:
        self.members = dict(members)
        records = tuple(
            replace(record, name=joined_name(name, record.name))
            for name, member in self.members.items()
            for record in member._records
        )
        stored = {
            joined_name(name, chrom): member.stored(chrom)
            for name, member in self.members.items()
            for chrom in member.names
        }
        super().__init__(records, stored, store_path=None)

    def __getstate__(self) -> dict[str, Any]:
        return {"members": self.members}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = JoinedGenome(state["members"]).__dict__


def joined_name(member: str, chrom: str) -> str:
    """Return the name of a member's chromosome in the joined genome.

    Example:
        >>> joined_name("yeast", "chrI")
        'yeast:chrI'
    """
    return f"{member}{SEPARATOR}{chrom}"


def split_name(name: str) -> tuple[str, str]:
    """Return the member and its own name of a chromosome; names of members hold no colon.

    Example:
        >>> split_name("human:chr1:100-200")
        ('human', 'chr1:100-200')
    """
    member, _, chrom = name.partition(SEPARATOR)
    return member, chrom


def refuse_copies(genomes: Iterable[tuple[str, Genome]], *, apart: Collection[str] = ()) -> None:
    """Refuse files of which two hold the same sequence, which would count twice.

    Args:
        genomes: Each file with its genome.
        apart: Names of sequences that do not count.

    Raises:
        DataError: If there is one; it names sequence and files.
    """
    seen: dict[str, str] = {}
    for path, genome in genomes:
        counted = {genome.digests[name]: name for name in genome.names if name not in apart}
        for digest, name in counted.items():
            if digest in seen:
                raise DataError(
                    f"'{name}' of {path} stands in {seen[digest]} too and would count twice; give "
                    f"every sequence once."
                )
        seen |= dict.fromkeys(counted, path)
