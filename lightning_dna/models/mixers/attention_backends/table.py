"""The table of programs for attention, and the choice among them."""

from collections.abc import Mapping
from typing import Literal

from lightning_dna.errors import ConfigError
from lightning_dna.models.mixers.attention_backends.base import Backend, Situation
from lightning_dna.models.mixers.attention_backends.eager import Eager
from lightning_dna.models.mixers.attention_backends.flash import DTYPES, Flash
from lightning_dna.models.mixers.attention_backends.flex import Flex
from lightning_dna.models.mixers.attention_backends.sdpa import ScaledDotProduct
from lightning_dna.models.positions import ALIBI

BackendName = Literal["flash", "flex", "sdpa", "eager"]
BACKENDS: Mapping[BackendName, Backend] = {
    "flash": Flash(),
    "flex": Flex(),
    "sdpa": ScaledDotProduct(),
    "eager": Eager(),
}


def choose(situation: Situation) -> BackendName:
    """Return the program that the settings ask for, or the first that suits the situation.

    ``auto`` takes flash-attn where it can work. Else, on CUDA in a short format and with a bias or
    a reach, FlexAttention, as torch's kernel would want the bias written out; else torch's kernel.

    Raises:
        ConfigError: The one asked for cannot work here.

    Example:
        >>> import torch
        >>> from lightning_dna.models.config import ModelConfig
        >>> choose(Situation("cpu", torch.float32, gradients=True, config=ModelConfig()))
        'sdpa'
    """
    asked = situation.config.attention_backend
    if asked != "auto":
        obstacle = BACKENDS[asked].obstacle(situation)
        if obstacle is not None:
            raise ConfigError(f"model.attention_backend: found '{asked}', but {obstacle}")
        return asked
    if BACKENDS["flash"].obstacle(situation) is None:
        return "flash"
    config = situation.config
    costly_bias = config.position_scheme in ALIBI or config.attention_reach is not None
    on_gpu = situation.device == "cuda" and situation.dtype in DTYPES
    if on_gpu and costly_bias and BACKENDS["flex"].obstacle(situation) is None:
        return "flex"
    return "sdpa"
