"""Which program runs the inner loops of byte-pair encoding; the tokens are equal."""

from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Literal, get_args

from lightning_dna.errors import ConfigError, unknown_name

Backend = Literal["auto", "numba", "python"]


@cache
def compiled_kernels(backend: Backend) -> ModuleType | None:
    """Return the module ``bpe_compiled``, or ``None`` for the slower Python and numpy.

    Args:
        backend: ``"auto"`` takes numba where it is installed.

    Raises:
        ConfigError: If the name is unknown, or ``"numba"`` is asked for and not installed.
    """
    if backend not in get_args(Backend):
        raise unknown_name("backend", backend, get_args(Backend))
    if backend == "python":
        return None
    if find_spec("numba") is None:
        if backend == "numba":
            raise ConfigError(
                "backend='numba' needs numba, which is not installed: "
                "pip install 'lightning-dna[fast]', or use backend='auto'"
            )
        return None
    from lightning_dna.tokenizers import bpe_compiled

    return bpe_compiled


def warm_up() -> None:
    """Compile every kernel now and keep the result beside the module, for the first user."""
    import numpy as np

    from lightning_dna.genome.alphabet import N
    from lightning_dna.tokenizers.bpe_training import Goal, train_exact, train_streamed

    sequence = np.random.default_rng(0).integers(0, N, 4000).astype(np.uint8)
    goal = Goal(vocab_size=150)  # training in memory has a second kernel for larger vocabularies
    tokenizer = train_exact([sequence], goal, backend="numba").tokenizer("numba")
    train_streamed(lambda: [sequence], goal, backend="numba")
    for _ in tokenizer.encode_stream([sequence], block_length=100):
        pass
