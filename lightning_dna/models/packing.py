"""Sequences of different lengths one after the other, without the padding between them.

A batch of ``batch x length`` places becomes one row of its real tokens. Everything that works on
single tokens then spends nothing on padding, and attention works on each sequence by itself.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Packing:
    """Where the tokens of a packed row come from.

    Attributes:
        places: Place of every token in the batch laid out flat.
        lengths: Tokens of each sequence, in order; rows without any token are left out.
        batch: Rows of the batch.
        length: Places in each of its rows.
        spare: Rows of zeros at the end of the packed row, which belong to no sequence.
    """

    places: Int[Tensor, " tokens"]
    lengths: tuple[int, ...]
    batch: int
    length: int
    spare: int = 0

    @functools.cached_property
    def positions(self) -> Int[Tensor, " rows"]:
        """Number of every token within its sequence, from 0."""
        steps = [torch.arange(length) for length in self.lengths]
        return torch.cat((*steps, torch.zeros(self.spare, dtype=torch.long))).to(self.places.device)

    @functools.cached_property
    def starts(self) -> Int[Tensor, " sequences_and_one"]:
        """Where each sequence starts and the last one stops, int32."""
        ends = torch.tensor((0, *self.lengths)).cumsum(dim=0)
        return ends.to(self.places.device, torch.int32)

    @functools.cached_property
    def sequences(self) -> Int[Tensor, " rows"]:
        """Number of every token's sequence; that of the spare rows is one more."""
        counts = torch.tensor((*self.lengths, self.spare))
        return torch.arange(len(counts)).repeat_interleave(counts).to(self.places.device)

    def pack(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "1 rows width"]:
        """Drop the padding."""
        tokens = x.flatten(0, 1)[self.places]
        return torch.nn.functional.pad(tokens, (0, 0, 0, self.spare))[None]

    def unpack(self, x: Float[Tensor, "1 rows width"]) -> Float[Tensor, "batch length width"]:
        """Put every token back in its place, and zeros where the padding was."""
        tokens = x[0, : len(self.places)]
        out = tokens.new_zeros(self.batch * self.length, x.shape[-1])
        placed = out.index_copy(0, self.places, tokens)
        return placed.reshape(self.batch, self.length, x.shape[-1])

    def each(
        self,
        function: Callable[[Tensor, Tensor, Tensor], Tensor],
        *parts: Float[Tensor, "1 rows heads head_width"],
    ) -> Float[Tensor, "1 rows heads head_width"]:
        """Apply a function of (sequences length heads head_width) tensors to each sequence.

        Sequences of one length go in one call.
        """
        sizes = [*self.lengths, self.spare]
        pieces = list(zip(*(torch.split(part[0], sizes) for part in parts), strict=True))
        found = [pieces[-1][-1]] * len(sizes)  # the spare rows are zeros, and stay what they are
        for length in dict.fromkeys(self.lengths):
            those = [at for at, size in enumerate(self.lengths) if size == length]
            stacked = [
                pieces[those[0]][part][None]
                if len(those) == 1
                else torch.stack([pieces[at][part] for at in those])
                for part in range(len(parts))
            ]
            for at, out in zip(those, function(*stacked), strict=True):
                found[at] = out
        return torch.cat(found)[None]


def packing_of(
    attention_mask: Bool[Tensor, "batch length"], *, multiple: int = 1
) -> Packing | None:
    """Say how to pack a batch.

    Args:
        attention_mask: True at real positions.
        multiple: The packed row's number of places is rounded up to a multiple of it.

    Returns:
        ``None`` where nothing would be gained, or a sequence has a hole: the distance between two
        of its tokens would change.

    Example:
        >>> packing = packing_of(torch.tensor([[True, True, False], [False, True, True]]))
        >>> packing.places.tolist(), packing.lengths
        ([0, 1, 4, 5], (2, 2))
        >>> packing_of(torch.tensor([[True, False, True]])) is None
        True
    """
    before = torch.nn.functional.pad(attention_mask[:, :-1], (1, 0))
    runs = (attention_mask & ~before).sum(dim=1)
    lengths, most = attention_mask.sum(dim=1).tolist(), int(runs.max())
    if most > 1 or not any(lengths) or sum(lengths) == attention_mask.numel():
        return None
    places = attention_mask.flatten().nonzero()[:, 0]
    batch, length = attention_mask.shape
    real = tuple(size for size in lengths if size)
    return Packing(places, real, batch, length, spare=-len(places) % multiple)
