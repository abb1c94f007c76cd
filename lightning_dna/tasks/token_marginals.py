"""Probabilities of single bases from a masked model over longer tokens.

Every model is scored on the same hidden bases, whatever its tokens are, and none of them, nor where
tokens begin and end, may depend on what is hidden. Where k-mers stand does not depend on the bases:
each k-mer that overlaps a hidden base is masked, and a hidden base at offset o of its k-mer is b
with the probability of all k-mers that have b at offset o. Where byte-pair tokens stand does depend
on them. So each hidden base gets a mask of its own, what is visible between hidden bases is
tokenized by itself, and a hidden base is b with the probability of all tokens that begin with b.
What remains is renormalised over A, C, G and T. With tokens of one base, both are what a model over
bases is scored by.

This corrects for sizes of vocabularies: accuracies and bits are of bases, not of tokens, and of the
same ones. It cannot correct for three things. With k-mers more than the hidden bases is hidden:
with 15 % of the bases, about 62 % of the 6-mers, so that these models are scored on less context,
and more masks, than they were trained with, unless ``data.mask_fraction`` was as high. With
byte-pair tokens the visible stretches are broken into shorter tokens, and a mask stands for fewer
bases, than in training, unless that had ``data.mask_unit: base``. And probabilities of bases are
single ones, not joint ones of all that is hidden: their sum over a window is no likelihood.

Masking byte-pair tokens in the places where they stand in the full sequence would be no fair test:
the offset of a base in its token narrows down what it can be. A toy DNABERT-2 of 64 tokens with
random weights had 1.82 bits per base that way, on a simulated genome where guessing has 2.00. As
it is done here it had 2.40: few of its tokens begin with A, and nothing had taught it better.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_dna.data.encoding import Encoding
from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import BASES, Codes, N
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.tokenizers.base import Ids, Tokenizer
from lightning_dna.tokenizers.kmer import KmerTokenizer
from lightning_dna.training.sequences import padded_rows

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
_NONE = 255  # beyond the end of a token


class BaseMarginals:
    """The letters of a vocabulary, and sums of token probabilities over them.

    Args:
        tokenizer: The tokenizer.

    Raises:
        ConfigError: If its tokens overlap.

    Example:
        >>> marginals = BaseMarginals(KmerTokenizer(1))
        >>> logits = torch.zeros(1, 12)
        >>> marginals.log_probabilities(logits, np.array([0]), np.array([1])).exp().tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        if isinstance(tokenizer, KmerTokenizer) and tokenizer.overlapping:
            raise ConfigError(
                f"overlapping {tokenizer.k}-mers hide every base several times, and cannot be "
                "scored on single hidden bases; use a suite without held-out tasks, or a checkpoint"
                " whose tokens do not overlap."
            )
        code = {letter: number for number, letter in enumerate(BASES)}
        texts = [text if text and set(text) <= code.keys() else "" for text in tokenizer.tokens]
        self.lengths = np.array([len(text) for text in texts], dtype=np.int64)
        self.letters = np.full((len(texts), max(1, self.lengths.max())), _NONE, dtype=np.uint8)
        for token, text in enumerate(texts):
            self.letters[token, : len(text)] = [code[letter] for letter in text]
        self.placed = isinstance(tokenizer, KmerTokenizer)

    def log_probabilities(self, logits: Tensor, offsets: Integers, spans: Integers) -> Tensor:
        """Return ln P of A, C, G and T at some offsets of masks.

        Args:
            logits: Scores of every token at the place of each base, shape ``(bases, vocabulary)``.
            offsets: Offset of each base in what its mask stands for, from 0.
            spans: Bases that the mask stands for: k-mers of another length are left out.

        Returns:
            Float64, shape ``(bases, 4)``; each row's probabilities sum to 1.
        """
        result = torch.full((len(offsets), N), -torch.inf, dtype=torch.float64)
        kinds = np.stack((offsets, spans if self.placed else np.zeros_like(spans)), axis=1)
        for offset, span in np.unique(kinds, axis=0).tolist():
            rows = torch.from_numpy(np.flatnonzero((kinds == (offset, span)).all(axis=1)))
            scores = logits[rows.to(logits.device)].double().cpu()
            possible = self.lengths == span if self.placed else self.lengths > offset
            for base in range(N):
                tokens = np.flatnonzero(possible & (self.letters[:, offset] == base))
                if len(tokens):
                    result[rows, base] = scores[:, torch.from_numpy(tokens)].logsumexp(dim=1)
        return result.log_softmax(dim=1)


def masked_tokens(
    codes: Codes, hidden: npt.NDArray[np.bool_], tokenizer: Tokenizer
) -> tuple[Ids, Integers, Integers, Integers]:
    """Tokenize one sequence and mask its hidden bases.

    Args:
        codes: Base codes, shape ``(length,)``.
        hidden: Bases to be predicted, shape ``(length,)``.
        tokenizer: A tokenizer whose tokens do not overlap.

    Returns:
        The ids; and for each hidden base the number of its mask, its offset there, and the bases
        that the mask stands for.

    Example:
        >>> ids, mask, offset, span = masked_tokens(
        ...     np.array([0, 1, 2, 3, 0], np.uint8), np.arange(5) == 3, KmerTokenizer(2)
        ... )
        >>> [KmerTokenizer(2).tokens[i] for i in ids], mask.item(), offset.item(), span.item()
        (['AC', '<mask>', 'A'], 1, 1, 2)
    """
    places = np.flatnonzero(hidden)
    if isinstance(tokenizer, KmerTokenizer):
        ids, spans = tokenizer.encode_with_offsets(codes)
        mask = np.searchsorted(spans[:, 1], places, side="right")
        masked = ids.astype(np.int64)
        masked[mask] = tokenizer.mask_id
        return masked, mask, places - spans[mask, 0], spans[mask, 1] - spans[mask, 0]
    pieces: list[npt.NDArray[np.int64]] = []
    mask = np.zeros(len(places), dtype=np.int64)
    count, first = 0, 0
    for number, place in enumerate([*places.tolist(), len(codes)]):
        visible = codes[first:place]
        if len(visible):
            pieces.append(tokenizer.encode_codes(visible).astype(np.int64))
            count += len(pieces[-1])
        if number < len(places):
            pieces.append(np.array([tokenizer.mask_id], dtype=np.int64))
            mask[number], count, first = count, count + 1, place + 1
    return np.concatenate(pieces), mask, np.zeros_like(mask), np.ones_like(mask)


def token_log_probabilities(
    model: LanguageModel,
    codes: Codes,
    hidden: npt.NDArray[np.bool_],
    encoding: Encoding,
    marginals: BaseMarginals,
    *,
    device: str | torch.device = "cpu",
) -> Floats:
    """Return a masked model's ln P of A, C, G, T at the hidden bases of some windows.

    The model must be in evaluation mode and on ``device``.

    Args:
        model: The model.
        codes: Base codes of the windows, shape ``(windows, length)``.
        hidden: Bases to be predicted, of the same shape.
        encoding: Tokenizer and special tokens.
        marginals: The sums over its vocabulary.
        device: Where to compute.

    Returns:
        One row for each hidden base, window by window, shape ``(hidden, 4)``.

    Raises:
        ConfigError: If the model predicts the next token.
        DataError: If a window has more tokens than the model takes.
    """
    if model.config.causal:
        raise ConfigError(
            "a next-token model over tokens of several bases sees part of a hidden base's token or "
            "none of it, and is not scored on hidden bases; use a suite without held-out tasks."
        )
    rows: list[Ids] = []
    places: list[tuple[Integers, Integers, Integers]] = []
    for one, flags in zip(codes, hidden, strict=True):
        ids, mask, offset, span = masked_tokens(one, flags, encoding.tokenizer)
        before = encoding.tokenizer.prefix_length if encoding.special else 0
        rows.append(encoding.tokenizer.with_special(ids) if encoding.special else ids)
        places.append((mask + before, offset, span))
    encoding.check_lengths(rows, model.config, where="windows of held-out sequence")
    device = torch.device(device)
    input_ids, real = padded_rows(rows, np.arange(len(rows)), encoding.pad_id, device)
    row = np.repeat(np.arange(len(rows)), [len(place[0]) for place in places])
    mask, offset, span = _joined(places)
    with torch.inference_mode():
        logits = model(input_ids, real).logits
        at = torch.from_numpy(row).to(device), torch.from_numpy(mask).to(device)
        return marginals.log_probabilities(logits[at], offset, span).numpy()


def _joined(
    places: Sequence[tuple[Integers, Integers, Integers]],
) -> tuple[Integers, Integers, Integers]:
    """Put the places of all windows one after the other."""
    mask, offset, span = (np.concatenate(part) for part in zip(*places, strict=True))
    return mask, offset, span
