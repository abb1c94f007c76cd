"""Losses of canaries and of their references under a model, and the ranks that follow.

A sequence is read forward: as a row of its own without anything around it, or in the training
window that the canary was planted in, where over single bases only its own count. In a masked
model each of its tokens is hidden once: the tokens are parted at random, the same way for all
sequences, into as many sets as a mask fraction makes, and each set is hidden in a pass of its own.
A next-token model predicts every token but the first. The loss is the sum of ``-ln P(token)``; over
longer tokens it depends on how many there are, for references as for canaries.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from lightning_dna.data.canaries import FEWEST_REFERENCES, Canary, CanarySet
from lightning_dna.data.canary_hosts import CanaryHost, canary_hosts
from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.data.module import GenomeDataModule
from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import Codes
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.stats.exposure import exposure, rank_among
from lightning_dna.training.modules import LanguageModule
from lightning_dna.training.sequences import padded_rows

Losses = Callable[[Codes], npt.NDArray[np.float64]]

_TOKENS_PER_BATCH = 16_384
_DECIMALS = 6  # of nats: what is below depends on which sequences share a batch
_SETS = 0x73657473  # "sets": the key of how tokens are parted


@dataclass(frozen=True, kw_only=True)
class RankedCanary:
    """A canary with its place among its references.

    Attributes:
        canary: The canary.
        nats: Its loss.
        rank: Its place by loss, from 1.
        places: References and itself.
    """

    canary: Canary
    nats: float
    rank: int
    places: int


@torch.no_grad()
def sequence_losses(
    model: LanguageModel,
    codes: Codes,
    encoding: Encoding,
    *,
    mask_fraction: float,
    device: torch.device | str = "cpu",
    span: tuple[int, int] | None = None,
    passes: int | None = None,
) -> npt.NDArray[np.float64]:
    """Return the loss of each sequence in nats, float64, shape ``(sequences,)``.

    Args:
        model: The model, in evaluation mode and on ``device``.
        codes: Base codes of the sequences, shape ``(sequences, length)``.
        encoding: How sequences become ids.
        mask_fraction: Share of the tokens that a pass hides, in (0, 1): 0.15 makes seven passes.
        device: Where to compute.
        span: First and end column of the tokens that count, all others only being seen; ``None``:
            all count.
        passes: Only so many passes of a masked model, the same for all sequences: as many of their
            tokens count; ``None``: all.

    Raises:
        DataError: If a loss is not finite.
    """
    per_batch = max(1, _TOKENS_PER_BATCH // codes.shape[1])
    parts = []
    for first in range(0, len(codes), per_batch):
        rows = encoding.rows([*codes[first : first + per_batch]])
        ids, real = padded_rows(rows, np.arange(len(rows)), encoding.pad_id, torch.device(device))
        for special in encoding.special_ids:
            real = real & (ids != special)
        columns = slice(*(span or (0, ids.shape[1])))
        if model.config.causal:
            nats = _next_token(model, ids, real, columns)
        else:
            sets = hidden_sets(columns.stop - columns.start, mask_fraction)
            chosen = range(int(sets.max()) + 1)[:passes]
            of_place = torch.full((ids.shape[1],), -1, device=ids.device)
            of_place[columns] = torch.from_numpy(sets).to(ids.device)
            hidden = [real & (of_place == number) for number in chosen]
            nats = _masked(model, ids, real, hidden, encoding.tokenizer.mask_id)
        parts.append(nats.double().cpu().numpy())
    losses = np.concatenate(parts)
    if not np.isfinite(losses).all():
        raise DataError(
            "the model gives a canary or one of its references no finite loss; did its training"
            " diverge? Look at its curves."
        )
    return losses


def _next_token(model: LanguageModel, ids: Tensor, real: Tensor, columns: slice) -> Tensor:
    """Return the loss of each row at some columns, but for its first token."""
    counted = torch.zeros_like(real)
    counted[:, columns] = True
    where = torch.zeros_like(real)
    where[:, :-1] = real[:, :-1] & real[:, 1:] & counted[:, 1:]
    targets = torch.roll(ids, -1, dims=1)
    return _row_sums(model, ids, real, where, targets)


def _masked(
    model: LanguageModel, ids: Tensor, real: Tensor, hidden: Sequence[Tensor], mask_id: int
) -> Tensor:
    """Return the loss of each row over passes that each hide some places and nothing else."""
    total = torch.zeros(len(ids), device=ids.device)
    for where in hidden:
        total = total + _row_sums(model, ids.masked_fill(where, mask_id), real, where, ids)
    return total


def hidden_sets(length: int, fraction: float) -> npt.NDArray[np.int64]:
    """Return the pass in which each of ``length`` tokens is hidden, from 0; int64 ``(length,)``.

    Example:
        >>> np.bincount(hidden_sets(16, 0.25)).tolist()
        [4, 4, 4, 4]
    """
    count = min(max(2, round(1 / fraction)), length)
    return np.random.Generator(np.random.Philox(key=_SETS)).permutation(length) % count


def _row_sums(
    model: LanguageModel, ids: Tensor, real: Tensor, where: Tensor, targets: Tensor
) -> Tensor:
    """Add up the nats of each row at some places."""
    logits = model.logits_at(ids, None if bool(real.all()) else real, where).float()
    nats = cross_entropy(logits, targets[where], reduction="none")
    sums = torch.zeros(len(ids), device=ids.device)
    return sums.index_add(0, where.nonzero()[:, 0], nats)


def rank_canaries(
    model: LanguageModel,
    canaries: CanarySet,
    encoding: Encoding,
    *,
    mask_fraction: float,
    references: int | None = None,
    hosts: Mapping[str, CanaryHost] | None = None,
    passes: int | None = None,
    device: torch.device | str = "cpu",
    progress: str | None = None,
) -> list[RankedCanary]:
    """Rank every canary among its references by loss.

    Args:
        model: The model, in evaluation mode and on ``device``.
        canaries: The canaries.
        encoding: How sequences become ids.
        mask_fraction: As in `sequence_losses`.
        references: How many of the references; ``None``: all.
        hosts: Name of each canary to the window that it and its references are read in; ``None``:
            they are read alone. Over single bases only their own loss counts; longer tokens reach
            over their ends, and all of the window count.
        passes: As in `sequence_losses`.
        device: Where to compute.
        progress: Label of a bar on stderr; ``None``: no bar.

    Returns:
        The canaries in the order of the set, those of the control among them.

    Raises:
        DataError: If a loss is not finite.
    """

    def losses(codes: Codes, span: tuple[int, int] | None = None) -> npt.NDArray[np.float64]:
        return sequence_losses(
            model,
            codes,
            encoding,
            mask_fraction=mask_fraction,
            device=device,
            span=span,
            passes=passes,
        )

    if hosts is None:
        return rank_by(losses, canaries, references=references, progress=progress)
    ranked = []
    for canary in tqdm(canaries.canaries, desc=progress, unit="canary", disable=progress is None):
        others = canaries.references(canary.kind, canary.number, references)
        sequences, host = np.concatenate([canary.codes[None], others]), hosts[canary.name]
        span = (host.start, host.start + len(canary.codes)) if encoding.by_base else None
        found = losses(host.holding(sequences), span).round(_DECIMALS)
        ranked.append(_ranked(canaries, canary, float(found[0]), found[1:]))
    return ranked


def rank_by(
    losses: Losses,
    canaries: CanarySet,
    *,
    references: int | None = None,
    progress: str | None = None,
) -> list[RankedCanary]:
    """Rank every canary among its references by whatever gives sequences a loss.

    Args:
        losses: From base codes, shape ``(sequences, length)``, to their losses in nats.
        canaries: The canaries.
        references: How many of the references; ``None``: all.
        progress: Label of a bar on stderr; ``None``: no bar.
    """
    ranked: dict[Canary, RankedCanary] = {}
    config = canaries.config
    sets = [(kind, number) for kind in config.kinds for number in range(config.per_count)]
    for kind, number in tqdm(sets, desc=progress, unit="set", disable=progress is None):
        group = [one for one in canaries.canaries if one.kind == kind and one.number == number]
        others = canaries.references(kind, number, references)
        codes = np.concatenate([np.stack([one.codes for one in group]), others])
        found = losses(codes).round(_DECIMALS)
        for canary, nats in zip(group, found[: len(group)].tolist(), strict=True):
            ranked[canary] = _ranked(canaries, canary, nats, found[len(group) :])
    return [ranked[canary] for canary in canaries.canaries]


def _ranked(
    canaries: CanarySet, canary: Canary, nats: float, others: npt.NDArray[np.float64]
) -> RankedCanary:
    """Give a canary its place among the losses of its references."""
    rank = rank_among(nats, others, canaries.tie(canary))
    return RankedCanary(canary=canary, nats=nats, rank=rank, places=len(others) + 1)


class ExposureOverSteps:
    """Mean exposure of each group of canaries, for the learning curve.

    Each call reads ``kinds * per_count * (tracked_references + groups) * length`` bases alone, once
    for each pass, 7 with a mask fraction of 0.15: half a million bases with the usual settings. In
    place it reads ``kinds * per_count * groups`` windows `FEWEST_REFERENCES` times and once more,
    in a single pass, which costs about twice as much. It does not count as training time.

    Args:
        canaries: The canaries.
        hosts: Name of each to the training window that holds it.
        encoding: How sequences become ids.
        mask_fraction: As in training.
    """

    def __init__(
        self,
        canaries: CanarySet,
        hosts: Mapping[str, CanaryHost],
        encoding: Encoding,
        mask_fraction: float,
    ) -> None:
        self.canaries = canaries
        self.hosts = hosts
        self.encoding = encoding
        self.mask_fraction = mask_fraction

    def __call__(self, module: LanguageModule) -> Mapping[str, float]:
        """Return mean exposures in bits by number of repetitions R; 0 is the control.

        ``exposure_xR`` of canaries read alone, ``exposure_in_place_xR`` in their windows.
        """
        module.eval()
        with module.trainer.precision_plugin.forward_context():
            alone = self._ranked(module, references=self.canaries.config.tracked_references)
            in_place = self._ranked(
                module, references=FEWEST_REFERENCES, hosts=self.hosts, passes=1
            )
        module.train()
        return {**_by_group("exposure", alone), **_by_group("exposure_in_place", in_place)}

    def _ranked(self, module: LanguageModule, **choices: Any) -> list[RankedCanary]:
        """Rank all canaries under the weights of this step."""
        return rank_canaries(
            module.model,
            self.canaries,
            self.encoding,
            mask_fraction=self.mask_fraction,
            device=module.device,
            **choices,
        )


def exposure_over_steps(data: GenomeDataModule) -> ExposureOverSteps | None:
    """Return what follows the canaries of a training; ``None`` where there are none."""
    planting = data.training.planting
    if planting is None:
        return None
    encoding = CHARACTERS if data.tokens is None else Encoding(tokenizer=data.tokens.tokenizer)
    hosts = canary_hosts(data.training, data.config)
    return ExposureOverSteps(planting.canaries, hosts, encoding, data.config.mask_fraction)


def _by_group(name: str, ranked: list[RankedCanary]) -> dict[str, float]:
    """Return the mean exposure of the canaries with each number of repetitions, as columns."""
    groups = sorted({one.canary.repetitions for one in ranked})
    return {
        f"{name}_x{group}": _mean_exposure(
            [one for one in ranked if one.canary.repetitions == group]
        )
        for group in groups
    }


def _mean_exposure(ranked: list[RankedCanary]) -> float:
    """Return the mean exposure of some canaries in bits."""
    ranks = np.array([one.rank for one in ranked], dtype=np.int64)
    return float(exposure(ranks, ranked[0].places).mean())
