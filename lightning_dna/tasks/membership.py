"""Membership inference: is a window of the training chromosomes told from one that was held out?

Two attacks on a model. ``loss``: members are predicted better, so the score of a window is minus
its loss per hidden base (Yeom et al. 2018). ``neighbours``: some sequence is easier than other for
any model, so the loss is compared with that of mutated copies of the window, and the score is their
mean loss minus its own (Mattern et al. 2023, who replace words; here bases are replaced, and the
hidden positions are the same in all copies). The positive class are the members. AUROC is one half,
and 1 % of members are found at 1 % false positives, where nothing of the training sequence is
remembered that its strata and its relatives on other chromosomes do not tell.

References:
    Yeom et al., Privacy risk in machine learning, CSF 2018; Mattern et al., Membership inference
    attacks against language models via neighbourhood comparison, ACL Findings 2023; Carlini et al.,
    Membership inference attacks from first principles, S&P 2022 (why the rate at 1 %).
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pandas as pd

from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.baselines.majority import score_majority
from lightning_dna.tasks.baselines.markov import score_markov
from lightning_dna.tasks.heldout import HeldOutTask
from lightning_dna.tasks.membership_windows import MatchedWindows
from lightning_dna.tasks.task import Candidate, Record

_MATCHING = 1  # raised when other windows are matched than before
_WINDOW = ["part", "example_id"]


class MembershipTask(HeldOutTask):
    """A table for each attack; a baseline has one, its loss, which stands beside every attack."""

    _last: tuple[tuple[str, int], pd.DataFrame] | None = None

    @cached_property
    def windows(self) -> MatchedWindows:
        """The matched windows on the study's genome."""
        around = self.around
        return MatchedWindows(
            self.card, around.genome, around.split, around.window_length, around.strata
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """How many windows are compared, and what could not be matched."""
        return tuple(f"{self.card.name}: {note}" for note in self.windows.notes)

    def content(self) -> Mapping[str, Any]:
        """Return the digest of the genome, its split, the window length and what is matched."""
        valid = list(self.around.split.valid)
        return {**super().content(), "valid": valid, "matching": _MATCHING}

    def score(self, candidate: Candidate, table: str | None) -> tuple[Scores, Record | None]:
        """Attack the model in one way; nothing is chosen."""
        model = candidate.weights.model().to(candidate.device)

        def loss(windows: MatchedWindows) -> pd.DataFrame:
            return loss_per_base(
                windows.score(
                    model,
                    variant=candidate.arm,
                    seed=candidate.seed,
                    device=candidate.device,
                    progress=candidate.progress,
                    encoding=candidate.encoding,
                )
            )

        # The next attack on the same model begins with the same losses.
        known = (candidate.arm, candidate.seed)
        if self._last is None or self._last[0] != known:
            self._last = (known, loss(self.windows))
        found = self._last[1]
        scores = -found["loss"]
        if table == "neighbours":
            numbers = range(1, self.card.neighbours + 1)
            copies = [loss(self.windows.neighbour(number))["loss"] for number in numbers]
            scores = scores + sum(copies) / len(copies)
        task = f"{self.card.name}/{table}"
        return attack_scores(found, scores, task, candidate.arm, candidate.seed), None

    def score_baseline(self, name: str, *, seed: int) -> tuple[Scores, Record]:
        """Attack the base frequencies or a Markov chain of the training chromosomes by loss."""
        if name == "majority":
            scores = score_majority(self.windows)
        else:
            scores = score_markov(self.windows, int(name.removeprefix("markov_")))
        found = loss_per_base(scores)
        return attack_scores(found, -found["loss"], self.card.name, name, seed), {}


def loss_per_base(scores: Scores) -> pd.DataFrame:
    """Return the mean loss of each window over its hidden bases, in nats.

    Args:
        scores: A table of kind ``mlm`` of one model; the strata of a window are put together.

    Returns:
        Columns ``cluster_id`` and ``loss``, indexed by part and window.
    """
    groups = scores.frame.groupby(_WINDOW, sort=True)
    sums = groups[["nats", "masked"]].sum()
    loss = sums["nats"] / sums["masked"]
    return pd.DataFrame({"cluster_id": groups["cluster_id"].first(), "loss": loss})


def attack_scores(
    found: pd.DataFrame, scores: "pd.Series[float]", task: str, variant: str, seed: int
) -> Scores:
    """Make the table of one attack on one model.

    Args:
        found: The windows, of `loss_per_base`.
        scores: Their scores, in the same order, the greater the more like a member.
        task: Name of the table.
        variant: Name of the model.
        seed: Its seed.
    """
    frame = found.assign(score=scores).reset_index()
    return Scores(
        pd.DataFrame(
            {
                "task": task,
                "variant": variant,
                "seed": seed,
                "example_id": frame["example_id"],
                "cluster_id": frame["cluster_id"],
                "label": (frame["part"] == "train").astype("int64"),
                "score": frame["score"],
            }
        ),
        "ranking",
    )
