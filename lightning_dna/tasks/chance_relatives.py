"""How often sequences without a relative reach the threshold of the leakage audit. No torch.

A share of k-mers says nothing by itself: how much two unrelated sequences have in common depends on
their length and composition, on how many others there are to look through, and on k. So sequences
of the part that is asked about are shuffled, with their dinucleotides kept, and looked for in the
same training sequences as they were. What reaches the threshold then does so by chance.
"""

from collections.abc import Mapping

import numpy as np

from lightning_dna.genome.alphabet import CODE_BITS, Codes, N
from lightning_dna.genome.kmers import sketch
from lightning_dna.genome.shuffles import dinucleotide_shuffles
from lightning_dna.genome.similarity import Shares, best_matches
from lightning_dna.tasks.audit_parts import AuditPart
from lightning_dna.tasks.relations import Relations

SHUFFLED = 1_000
ALLOWED = 0.01
"""Share of shuffled sequences that may reach a threshold for it to be offered."""
_BASES = 400_000  # shuffled at most: seconds, however long the sequences are
_STEP = 0.005  # thresholds are offered in such steps


def chance_similarity(part: AuditPart, against: str, relations: Relations) -> Shares:
    """Return how similar shuffled sequences of one part are to the nearest of another.

    Args:
        part: Whose sequences are shuffled: `SHUFFLED` of them at most, evenly spaced. Sequences
            with an N, or too short for a k-mer, are left out.
        against: The part in which they are looked for.
        relations: What is known of both.

    Returns:
        Best containment of each, from 0 to 1, shape ``(shuffled,)``.
    """
    settings = relations.settings
    plain = [np.bitwise_and(one, np.uint8(CODE_BITS)) for one in part.codes or []]
    usable = [one for one in plain if len(one) >= settings.k and int(one.max()) < N]
    generator = np.random.default_rng(0)
    shuffled = [dinucleotide_shuffles(one, 1, generator)[0] for one in _some(usable)]
    found = best_matches(
        sketch(shuffled, k=settings.k, both_strands=settings.both_strands),
        relations.sketches[against],
        max_occurrences=settings.max_occurrences,
    )
    return found.containment


def _some(codes: list[Codes]) -> list[Codes]:
    """Return evenly spaced sequences, so many as may be shuffled."""
    if not codes:
        return []
    mean = sum(map(len, codes)) // len(codes)
    count = min(len(codes), SHUFFLED, max(1, _BASES // mean))
    return [codes[place] for place in np.linspace(0, len(codes) - 1, count).astype(int).tolist()]


def chance_notes(task: str, parts: Mapping[str, AuditPart], relations: Relations) -> list[str]:
    """Say what share of the last part's sequences are similar to one of the first by chance.

    Args:
        task: Name of the task.
        parts: The parts of the audit.
        relations: Their relations.

    Returns:
        One note; none where there is nothing to shuffle.
    """
    names = list(parts)
    first, last = names[0], names[-1]
    chance = chance_similarity(parts[last], first, relations)
    if not len(chance):
        return []
    settings = relations.settings
    # Above what all but the allowed share reach.
    reached = float(np.quantile(chance, 1 - ALLOWED, method="higher"))
    lowest = (np.floor(reached / _STEP) + 1) * _STEP
    here, there = (float((chance >= one).mean()) for one in (settings.threshold, lowest))
    offer = ""
    if lowest < settings.threshold:
        offer = (
            f"; at a threshold of {lowest:.3g} it would be {there:.1%}, and more distant relatives "
            f"would be found"
        )
    elif here > ALLOWED:
        better = f"at a threshold of {lowest:.3g} it would be {there:.1%}"
        offer = (
            f"; {better if lowest <= 1 else 'no threshold changes that'}. Runs of few letters hold"
            " the same words after shuffling, so that likeness of such sequences says little of"
            " common descent"
        )
    return [
        f"{task}: with shuffled letters (dinucleotides kept), {here:.1%} of {len(chance):,} {last} "
        f"sequences are similar to one in {first}, by chance{offer}."
    ]
