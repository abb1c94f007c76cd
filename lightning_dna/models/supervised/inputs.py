"""What the task-trained networks read: bases, apart from padding, and weights drawn from a seed."""

import contextlib
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BASE_IDS = (7, 8, 9, 10, 11)  # A, C, G, T, N in the character tokenizer
N_BASES = len(BASE_IDS)
UNKNOWN = N_BASES  # anything else


def left_aligned(
    input_ids: Int[Tensor, "batch length"], attention_mask: Bool[Tensor, "batch length"]
) -> tuple[Int[Tensor, "batch length"], Bool[Tensor, "batch length"]]:
    """Move the real positions of every row to its beginning, in their order.

    Networks that count positions from the first one, as pooling does, are then as blind to padding
    on the left as to padding on the right.

    Example:
        >>> ids, mask = torch.tensor([[4, 7, 8]]), torch.tensor([[False, True, True]])
        >>> left_aligned(ids, mask)[0].tolist()
        [[7, 8, 4]]
    """
    order = (~attention_mask).long().argsort(dim=1, stable=True)
    return input_ids.gather(1, order), attention_mask.gather(1, order)


def base_codes(input_ids: Int[Tensor, "batch length"]) -> Int[Tensor, "batch length"]:
    """Return 0 to 4 for A, C, G, T and N, and 5 for every other token.

    Example:
        >>> base_codes(torch.tensor([[7, 10, 11, 4]])).tolist()
        [[0, 3, 4, 5]]
    """
    codes = input_ids - BASE_IDS[0]
    return torch.where((codes >= 0) & (codes < N_BASES), codes, UNKNOWN)


def one_hot(
    codes: Int[Tensor, "batch length"], *, channels: int, dtype: torch.dtype
) -> Float[Tensor, "batch channels length"]:
    """Return 1 in the channel of each code; codes beyond the channels are zeros.

    Example:
        >>> one_hot(torch.tensor([[0, 4]]), channels=4, dtype=torch.float32)[0, 0].tolist()
        [1.0, 0.0]
    """
    channel = torch.arange(channels, device=codes.device)
    return (codes[:, None, :] == channel[:, None]).to(dtype)


@contextlib.contextmanager
def weights_of_seed(seed: int) -> Iterator[None]:
    """Let torch's own rules draw initial weights from a seed; the global generator stays put."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
