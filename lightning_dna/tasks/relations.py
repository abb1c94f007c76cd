"""How the sequences of a task's parts are related: copies, best matches and clusters. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_dna.errors import ConfigError
from lightning_dna.genome.kmers import Sketches, check_k, sketch
from lightning_dna.genome.similarity import (
    MAX_OCCURRENCES,
    BestMatches,
    best_matches,
    components,
    identical_groups,
)
from lightning_dna.tasks.audit_parts import AuditPart

Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

# Strict: unrelated sequences hardly ever reach it, and a third or more of the distant relatives do
# not either. Every audit says what chance does; beside BLAST: reports/leakage/hashfrag.md.
SIMILARITY_K = 11
SIMILARITY_THRESHOLD = 0.1
GIANT = 0.2
"""Share of all sequences from which one cluster is a warning."""


@dataclass(frozen=True, kw_only=True)
class LeakageSettings:
    """What counts as similar.

    Attributes:
        k: Bases of a k-mer, 2 to 31.
        threshold: Containment from which two sequences are relatives, in (0, 1].
        max_occurrences: Most sequences that one k-mer is followed to; see `best_matches`.
        both_strands: ``False`` compares sequences as they are written, so that a reverse complement
            is neither a copy nor a relative.

    Raises:
        ConfigError: If a value is out of range.
    """

    k: int = SIMILARITY_K
    threshold: float = SIMILARITY_THRESHOLD
    max_occurrences: int = MAX_OCCURRENCES
    both_strands: bool = True

    def __post_init__(self) -> None:
        check_k(self.k)
        if not 0.0 < self.threshold <= 1.0:
            raise ConfigError(f"threshold is {self.threshold}; allowed: (0, 1].")
        if self.max_occurrences < 1:
            raise ConfigError(f"max_occurrences is {self.max_occurrences}; allowed: 1 or more.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Relations:
    """What is computed once for all parts.

    Attributes:
        copies: Number that copies share, by part.
        letters: Number that copies of one strand share, by part.
        sketches: K-mers of each sequence, by part.
        clusters: Cluster of each example, by part.
        settings: What counts as similar.
    """

    copies: Mapping[str, Integers]
    letters: Mapping[str, Integers]
    sketches: Mapping[str, Sketches]
    clusters: Mapping[str, Integers]
    settings: LeakageSettings

    @classmethod
    def of(cls, parts: Mapping[str, AuditPart], settings: LeakageSettings) -> "Relations":
        """Group the sequences of all parts."""
        codes = [one for part in parts.values() for one in part.codes or []]
        ends = np.cumsum([len(part) for part in parts.values()])[:-1]
        known: dict[bytes, int] = {}
        letters = np.array([known.setdefault(one.tobytes(), len(known)) for one in codes])
        copies = identical_groups(codes) if settings.both_strands else letters
        sketches = sketch(codes, k=settings.k, both_strands=settings.both_strands)
        _, first = np.unique(copies, return_index=True)
        clusters = components(
            sketches.select(first),
            threshold=settings.threshold,
            max_occurrences=settings.max_occurrences,
        )[copies]
        spans = np.split(np.arange(len(codes)), ends)

        def by_part(values: Integers) -> dict[str, Integers]:
            return {name: values[span] for name, span in zip(parts, spans, strict=True)}

        return cls(
            copies=by_part(copies),
            letters=by_part(letters),
            sketches={name: sketches.select(span) for name, span in zip(parts, spans, strict=True)},
            clusters=by_part(clusters),
            settings=settings,
        )

    def best(self, name: str, against: str) -> BestMatches:
        """Return the most similar sequence of another part for each sequence of a part."""
        return best_matches(
            self.sketches[name],
            self.sketches[against],
            max_occurrences=self.settings.max_occurrences,
        )

    def notes(self, task: str) -> list[str]:
        """Say what the k-mers cannot tell, and how large the clusters are."""
        labels = np.concatenate(list(self.clusters.values()))
        sizes = np.bincount(labels)
        k, threshold = self.settings.k, self.settings.threshold
        notes = [
            f"{task}: {len(sizes):,} clusters among {len(labels):,} sequences ({k}-mers, "
            f"containment {threshold:g}); the largest holds {sizes.max():,}."
        ]
        if sizes.max() > max(GIANT * len(labels), 2):
            notes.append(
                f"{task}: WARNING: one cluster holds {sizes.max() / len(labels):.0%} of all "
                f"sequences. A split by clusters cannot be balanced with it; raise the threshold "
                f"or k."
            )
        short = sum(int((one.sizes == 0).sum()) for one in self.sketches.values())
        if short:
            notes.append(
                f"{task}: {short:,} sequences have no {k}-mer (too short, or full of N); they are "
                f"compared as copies only."
            )
        return notes


def copies_of(
    parts: Mapping[str, AuditPart], name: str, against: str, relations: Relations
) -> dict[str, Flags]:
    """Flag copies, those of the other strand only, and those whose labels disagree.

    Within one part every copy after the first is flagged, and a conflict is a copy of a sequence
    that has several labels.
    """
    copies, there = relations.copies[name], relations.copies[against]
    letters, read = relations.letters[name], relations.letters[against]
    if name == against:
        copied, same = _repeated(copies), _repeated(letters)
    else:
        copied, same = np.isin(copies, there), np.isin(letters, read)
    flags = {"copies": copied, "other_strand": copied & ~same}
    labels, others = parts[name].labels, parts[against].labels
    if (labels != "").all() and (others != "").all():
        _, numbers = np.unique(np.concatenate((labels, others)), return_inverse=True)
        table = pd.DataFrame({"copy": there, "label": numbers[len(labels) :]}).drop_duplicates()
        held = table.groupby("copy")["label"].size()
        own = set(map(tuple, table.to_numpy().tolist()))
        mine = zip(copies.tolist(), numbers[: len(labels)].tolist(), strict=True)
        agreeing = np.array([pair in own for pair in mine], dtype=np.int64)
        n_labels = held.reindex(copies).fillna(0).to_numpy(dtype=np.int64)
        flags["conflicts"] = copied & (n_labels > agreeing)
    return flags


def _repeated(groups: Integers) -> Flags:
    """Flag every member of a group after its first."""
    flags = np.ones(len(groups), dtype=np.bool_)
    flags[np.unique(groups, return_index=True)[1]] = False
    return flags


def similar_to(
    parts: Mapping[str, AuditPart],
    name: str,
    against: str,
    relations: Relations,
    flags: dict[str, Flags],
) -> tuple[dict[str, Flags], dict[str, npt.NDArray[np.generic]]]:
    """Add similarity and clusters to the flags of copies; return columns too."""
    best = relations.best(name, against)
    clusters = relations.clusters[name]
    sizes = np.bincount(np.concatenate(list(relations.clusters.values())))
    # What is too short for k-mers, and is a copy, is as similar as can be.
    similarity = np.where(flags["copies"], 1.0, best.containment)
    flags = {
        **flags,
        "similar": similarity >= relations.settings.threshold,
        "clustered": np.isin(clusters, relations.clusters[against]),
    }
    ids = np.array([*parts[against].ids, ""], dtype=object)
    columns: dict[str, npt.NDArray[np.generic]] = {
        "against": np.full(len(clusters), against, dtype=object),
        "copy": flags["copies"],
        "copy_other_strand": flags["other_strand"],
        "similarity": similarity,
        "most_similar": ids[best.target],
        "pooled_similarity": best.pooled,
        "uncounted": best.capped,
        "cluster": clusters,
        "cluster_size": sizes[clusters],
        "cluster_shared": flags["clustered"],
    }
    if "conflicts" in flags:
        columns["label_conflict"] = flags["conflicts"]
    return flags, columns
