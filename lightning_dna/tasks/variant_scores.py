"""Zero-shot scores of variants: what a language model makes of ALT in the place of REF.

Every score is computed on the forward strand and on the other one, and averaged; the two parts are
returned too. Positive log-likelihood ratios mean that the model finds ALT more likely than REF.

``llr`` is what a model's objective gives:

- masked, one base for another: ln P(ALT) - ln P(REF) at the site, which is hidden; one reading of
  the window serves all ALTs of a site. Probabilities are among A, C, G and T. With tokens of
  several bases they are sums over tokens, see `lightning_dna.tasks.token_marginals`.
- masked, every other variant: the pseudo-log-likelihood of the window with ALT less that of the
  window with REF, over the bases of the allele and eight on either side, each hidden alone. The
  sums have as many terms as there are such bases: an insertion is charged for each base that it
  adds. Such values are comparable among variants of one kind and length, less so beyond.
- next token: ln P of the whole window with ALT less that with REF. Windows are equally long.

``abs_llr`` is its size, whichever allele is the likelier one: for effects that have no direction,
such as those on accessibility.

``unmasked_llr`` (masked models over bases, one base for another): as ``llr``, with REF visible.

``embedding_cosine`` and ``embedding_l2`` are distances between the last hidden states of the two
windows, averaged over the tokens of the allele (of an empty one: its two neighbours);
``embedding_cosine_mean`` and ``embedding_l2_mean`` between averages over the window. A next-token
model's state at the allele has seen one side alone.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from lightning_dna.data.encoding import Encoding
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import Codes, N
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.tasks.token_marginals import BaseMarginals, token_log_probabilities
from lightning_dna.tasks.variant_files import VariantSet
from lightning_dna.tasks.variant_source import VariantScore, signed_scores
from lightning_dna.tasks.variant_windows import FLANK, Allele, Pair, pair_of
from lightning_dna.tokenizers.base import Ids
from lightning_dna.training.sequences import padded_rows

Floats = npt.NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)

TOKENS_PER_BATCH = 16_384
_PARTS = ("", "_forward", "_reverse")
_CHUNK = 256  # variants taken up together: their windows exist at the same time


class _Place(NamedTuple):
    """A base of a window at which probabilities are asked for."""

    codes: Codes
    at: int


class _States(NamedTuple):
    """Averages of hidden states: over the tokens of the allele, and over the window."""

    site: npt.NDArray[np.float32]
    window: npt.NDArray[np.float32]


def check_scores(
    scores: Sequence[VariantScore], config: ModelConfig, encoding: Encoding, *, where: str
) -> None:
    """Refuse scores that a model cannot give.

    Args:
        scores: The scores.
        config: The model's settings.
        encoding: How it reads sequences.
        where: The model, for the message.

    Raises:
        ConfigError: ``unmasked_llr`` of a next-token model or of one over longer tokens; ``llr`` of
            a masked model over overlapping tokens.
    """
    if "unmasked_llr" in scores and (config.causal or not encoding.by_base):
        raise ConfigError(
            f"{where}: unmasked_llr is of masked models over single bases; leave it out of the "
            f"scores, llr is defined for every model."
        )
    ratios = "llr" in signed_scores(scores)
    if ratios and not config.causal and not encoding.by_base:
        BaseMarginals(encoding.tokenizer)


def score_variants(
    variants: VariantSet,
    model: LanguageModel,
    encoding: Encoding,
    *,
    length: int,
    scores: Sequence[VariantScore],
    device: str | torch.device = "cpu",
    progress: bool = False,
    label: str = "variants",
) -> dict[str, Floats]:
    """Score every variant.

    Args:
        variants: The variants, each of which a window of ``length`` bases can hold.
        model: The model, in evaluation mode and on ``device``.
        encoding: How sequences become the ids that it reads.
        length: Bases of a window.
        scores: Which scores.
        device: Where to compute.
        progress: Whether to show a bar on stderr.
        label: What the bar is called.

    Returns:
        For each score its mean over the strands under its own name, and the parts under
        ``NAME_forward`` and ``NAME_reverse``; each of shape ``(variants,)``. ``abs_llr`` is the
        size of the mean ``llr``, not the mean of the strands' sizes.

    Raises:
        ConfigError: If the model cannot give a score.
        DataError: If a window has more tokens than the model takes, or a score is not finite.
    """
    check_scores(scores, model.config, encoding, where="the model")
    reader = _Reader(model, encoding, torch.device(device))
    signed = signed_scores(scores)
    parts: dict[str, list[Floats]] = {}
    with tqdm(total=len(variants), desc=label, unit="variant", disable=not progress) as bar:
        for first in range(0, len(variants), _CHUNK):
            chunk = variants.variants[first : first + _CHUNK]
            forward = [pair_of(variants.genome, one, length) for one in chunk]
            for strand, pairs in (
                ("forward", forward),
                ("reverse", [pair.turned() for pair in forward]),
            ):
                for name, values in reader.scores(pairs, signed).items():
                    parts.setdefault(f"{name}_{strand}", []).append(values)
            bar.update(len(chunk))
    columns = {name: np.concatenate(values) for name, values in parts.items()}
    means = {name: (columns[f"{name}_forward"] + columns[f"{name}_reverse"]) / 2 for name in signed}
    for name, values in means.items():
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise DataError(
                f"{name} of variant '{variants.variants[wrong[0]].name}' is not finite; did the "
                f"training of this model diverge? Look at its curves."
            )
    found = means | columns
    found |= {
        f"abs_{name}": abs(values) for name, values in found.items() if name.startswith("llr")
    }
    return {f"{name}{part}": found[f"{name}{part}"] for part in _PARTS for name in scores}


class _Reader:
    """A model that reads windows in batches."""

    def __init__(self, model: LanguageModel, encoding: Encoding, device: torch.device) -> None:
        self.model, self.encoding, self.device = model, encoding, device
        self.masked = not model.config.causal
        self.bases = torch.tensor([])
        if encoding.by_base:
            codes = np.arange(N, dtype=np.uint8)
            self.bases = torch.from_numpy(encoding.row(codes).astype(np.int64)).to(device)

    @cached_property
    def marginals(self) -> BaseMarginals:
        """Sums over a vocabulary of longer tokens; distances between states need none."""
        return BaseMarginals(self.encoding.tokenizer)

    def scores(self, pairs: Sequence[Pair], names: Sequence[VariantScore]) -> dict[str, Floats]:
        """Return the named scores of some variants on one strand."""
        found: dict[str, Floats] = {}
        if "llr" in names:
            found["llr"] = self._hidden(pairs) if self.masked else self._whole(pairs)
        if "unmasked_llr" in names:
            found["unmasked_llr"] = self._visible(pairs)
        if any(name.startswith("embedding") for name in names):
            found |= self._distances(pairs)
        return {name: found[name] for name in names}

    def _hidden(self, pairs: Sequence[Pair]) -> Floats:
        """Return log-likelihood ratios of a masked model with the scored bases hidden."""
        asked: list[_Place] = []
        for pair in pairs:
            if pair.single:
                asked.append(_Place(pair.ref.codes, pair.ref.site))
            else:
                asked += [*_affected(pair.ref), *_affected(pair.alt)]
        table = self._probabilities(asked, hidden=True)
        values = np.zeros(len(pairs))
        for row, pair in enumerate(pairs):
            if pair.single:
                values[row] = _ratio(table[_key(pair.ref.codes, pair.ref.site)], pair)
            else:
                values[row] = _summed(table, pair.alt) - _summed(table, pair.ref)
        return values

    def _visible(self, pairs: Sequence[Pair]) -> Floats:
        """Return ratios at the site of a window with REF in it; other variants are refused."""
        if not all(pair.single for pair in pairs):
            raise ConfigError(
                "unmasked_llr is of single bases, and the file has other variants; leave the score "
                "out, or keep single bases only."
            )
        asked = [_Place(pair.ref.codes, pair.ref.site) for pair in pairs]
        table = self._probabilities(asked, hidden=False)
        return np.array([_ratio(table[_key(p.ref.codes, p.ref.site)], p) for p in pairs])

    def _probabilities(self, asked: Sequence[_Place], *, hidden: bool) -> dict[Hashable, Floats]:
        """Return ln P of A, C, G, T at some places, by window and place; each is read once."""
        unique = {_key(*place): place for place in asked}
        read = self._bases_of if self.encoding.by_base else self._tokens_of
        return _in_batches(unique, lambda place: place.codes, lambda part: read(part, hidden))

    def _bases_of(self, places: Sequence[_Place], hidden: bool) -> list[Floats]:
        """Ask a masked model over bases; the windows are of one length."""
        ids = np.stack([self.encoding.row(place.codes) for place in places]).astype(np.int64)
        where = np.zeros(ids.shape, dtype=np.bool_)
        where[np.arange(len(places)), [place.at for place in places]] = True
        if hidden:
            ids[where] = self.encoding.tokenizer.mask_id
        with torch.inference_mode():
            rows = torch.from_numpy(ids).to(self.device), torch.from_numpy(where).to(self.device)
            logits = self.model.logits_at(rows[0], None, rows[1])[:, self.bases]
            return [*logits.double().log_softmax(dim=-1).cpu().numpy()]

    def _tokens_of(self, places: Sequence[_Place], hidden: bool) -> list[Floats]:
        """Ask a masked model over longer tokens."""
        codes = np.stack([place.codes for place in places])
        flags = np.zeros(codes.shape, dtype=np.bool_)
        flags[np.arange(len(places)), [place.at for place in places]] = hidden
        return [
            *token_log_probabilities(
                self.model, codes, flags, self.encoding, self.marginals, device=self.device
            )
        ]

    def _whole(self, pairs: Sequence[Pair]) -> Floats:
        """Return differences of the log-likelihood of whole windows of a next-token model."""
        unique: dict[Hashable, Codes] = {
            allele.codes.tobytes(): allele.codes for pair in pairs for allele in pair
        }
        table = _in_batches(unique, lambda codes: codes, self._likelihoods)
        return np.array(
            [table[p.alt.codes.tobytes()] - table[p.ref.codes.tobytes()] for p in pairs]
        )

    def _likelihoods(self, windows: Sequence[Codes]) -> list[float]:
        """Return ln P of some windows, without their first token, unknown bases and padding."""
        ids, real = self._padded(windows)
        with torch.inference_mode():
            logits = self.model(ids, real).logits[:, :-1]
            targets, counted = ids[:, 1:], real[:, 1:].clone()
            if self.encoding.by_base:
                # Renormalised over the bases, as held-out sequence is scored.
                places = torch.full((int(self.bases.max()) + 2,), -1, device=self.device)
                places[self.bases] = torch.arange(N, device=self.device)
                logits, targets = logits[..., self.bases], places[targets]
                counted &= targets >= 0
            else:
                for token in (*self.encoding.special_ids, self.encoding.tokenizer.unk_id):
                    counted &= targets != token
            chosen = logits.double().log_softmax(dim=-1)
            chosen = chosen.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
            return [float(value) for value in (chosen * counted).sum(dim=1).cpu()]

    def _padded(self, windows: Sequence[Codes]) -> tuple[Tensor, Tensor]:
        """Return the ids of some windows and the mask of real tokens."""
        rows: list[Ids] = self.encoding.rows(windows)
        self.encoding.check_lengths(rows, self.model.config, where="windows around variants")
        return padded_rows(rows, np.arange(len(rows)), self.encoding.pad_id, self.device)

    def _distances(self, pairs: Sequence[Pair]) -> dict[str, Floats]:
        """Return distances between hidden states."""
        unique = {_key(*allele): allele for pair in pairs for allele in pair}
        table = _in_batches(unique, lambda allele: allele.codes, self._states)
        found: dict[str, Floats] = {}
        for name, part in (("", 0), ("_mean", 1)):
            ref, alt = (
                np.array([table[_key(*pair[side])][part] for pair in pairs], dtype=np.float64)
                for side in (0, 1)
            )
            lengths = np.linalg.norm(ref, axis=1) * np.linalg.norm(alt, axis=1)
            found[f"embedding_cosine{name}"] = 1 - (ref * alt).sum(axis=1) / lengths
            found[f"embedding_l2{name}"] = np.linalg.norm(ref - alt, axis=1)
        return found

    def _states(self, alleles: Sequence[Allele]) -> list[_States]:
        """Return averages of the hidden states of some windows."""
        ids, real = self._padded([allele.codes for allele in alleles])
        counted = real.clone()
        for token in self.encoding.special_ids:
            counted &= ids != token
        with torch.inference_mode():
            hidden = self.model(ids, real).hidden.float()
            weights = counted.float()
            windows = (hidden * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
            sites = torch.stack(
                [hidden[row, self._tokens_at(one)].mean(0) for row, one in enumerate(alleles)]
            )
        return [_States(s, w) for s, w in zip(_array(sites), _array(windows), strict=True)]

    def _tokens_at(self, allele: Allele) -> slice:
        """Return which tokens hold the allele, or the neighbours of an empty one."""
        start, end = allele.site, allele.site + allele.size
        if not allele.size:
            start, end = max(0, start - 1), min(len(allele.codes), end + 1)
        if self.encoding.by_base:
            return slice(start, end)
        offsets = self.encoding.tokenizer.offsets(allele.codes)
        inside = np.flatnonzero((offsets[:, 0] < end) & (offsets[:, 1] > start))
        before = self.encoding.tokenizer.prefix_length if self.encoding.special else 0
        return slice(int(inside[0]) + before, int(inside[-1]) + before + 1)


def _array(values: Tensor) -> npt.NDArray[np.float32]:
    """Return a tensor as an array."""
    return np.asarray(values.cpu().numpy(), dtype=np.float32)


def _key(codes: Codes, *where: int) -> Hashable:
    """Identify a window and a place in it by content."""
    return (codes.tobytes(), *where)


def _affected(allele: Allele) -> list[_Place]:
    """Return the places of a pseudo-log-likelihood; unknown bases have none."""
    codes = allele.codes
    return [_Place(codes, at) for at in allele.around(FLANK) if codes[at] < N]


def _summed(table: Mapping[Hashable, Floats], allele: Allele) -> float:
    """Return the pseudo-log-likelihood of an allele and its surroundings."""
    return float(sum(table[_key(*place)][place.codes[place.at]] for place in _affected(allele)))


def _ratio(log_probabilities: Floats, pair: Pair) -> float:
    """Return ln P(ALT) - ln P(REF)."""
    ref, alt = (allele.codes[allele.site] for allele in pair)
    return float(log_probabilities[alt] - log_probabilities[ref])


Item = TypeVar("Item")
Result = TypeVar("Result")


def _in_batches(
    items: Mapping[Hashable, Item],
    codes: Callable[[Item], Codes],
    read: Callable[[list[Item]], Sequence[Result]],
) -> dict[Hashable, Result]:
    """Read items in batches of windows of one length, whatever their order."""
    by_length: dict[int, list[Hashable]] = {}
    for key, item in items.items():
        by_length.setdefault(len(codes(item)), []).append(key)
    found: dict[Hashable, Result] = {}
    for length, keys in by_length.items():
        step = max(1, TOKENS_PER_BATCH // length)
        for first in range(0, len(keys), step):
            part = keys[first : first + step]
            found |= zip(part, read([items[key] for key in part]), strict=True)
    return found
