"""Keeping the transforms of Hyena's filters from one evaluation to the next."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable

import torch
from torch import Tensor

Responses = list[list[Tensor]]

LIMIT = 5 * 2**24  # bytes of one mixer; 32,768 positions of 256 channels take 2**26 and a little


class FilterCache:
    """Transforms that are valid as long as the weights they were made from hold the same numbers.

    The numbers themselves are compared, some tens of thousands. Version counters of the parameters
    would miss what is written through ``parameter.data``, as averages of weights are.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.weights: Tensor | None = None
        self.kept: OrderedDict[Hashable, Responses] = OrderedDict()

    def get(
        self,
        weights: Iterable[Tensor],
        key: Hashable,
        size: int,
        make: Callable[[], Responses],
    ) -> Responses | None:
        """Return kept transforms, or make and keep them.

        Args:
            weights: Everything they depend on and that can change.
            key: Everything else they depend on.
            size: Their size in bytes.
            make: Makes them.

        Returns:
            The transforms, or ``None`` if they are larger than the limit.
        """
        if size > self.limit:
            return None
        found = torch.cat([weight.detach().flatten() for weight in weights])
        known = self.weights
        if (
            known is None
            or (known.dtype, known.device) != (found.dtype, found.device)
            or not torch.equal(known, found)
        ):
            self.clear()
            self.weights = found
        if key not in self.kept:
            while self.kept and self.size() + size > self.limit:
                self.kept.popitem(last=False)
            self.kept[key] = make()
        self.kept.move_to_end(key)
        return self.kept[key]

    def size(self) -> int:
        """Return the bytes of all that is kept."""
        responses = (tensor for kept in self.kept.values() for group in kept for tensor in group)
        return sum(tensor.nbytes for tensor in responses)

    def clear(self) -> None:
        """Forget everything."""
        self.weights = None
        self.kept.clear()
