"""Attention by flash-attn 2 on CUDA, with ALiBi slopes, local reach and packed sequences.

flash-attn adds ``-slope |i - j|`` on both sides, so slopes that differ by side are beyond it.

References:
    Dao, FlashAttention-2, ICLR 2024; ``flash_attn/flash_attn_interface.py`` of its package.
"""

import importlib
import importlib.util
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_dna.models.mixers.attention_backends.base import Layout, Situation
from lightning_dna.models.mixers.attention_backends.sdpa import ScaledDotProduct
from lightning_dna.models.packing import Packing, packing_of
from lightning_dna.models.positions import OffsetBias

DTYPES = (torch.bfloat16, torch.float16)
WIDEST_HEAD = 256


class Flash:
    """flash-attn 2."""

    name = "flash"

    def obstacle(self, situation: Situation) -> str | None:
        """Say what keeps flash-attn from working, or ``None``."""
        config = situation.config
        if situation.device != "cuda":
            return (
                f"flash-attn runs on CUDA devices, and the model is on '{situation.device}'; use "
                "auto, sdpa or eager, or a GPU (trainer.accelerator)"
            )
        if importlib.util.find_spec("flash_attn") is None:
            return (
                "the package flash-attn is not installed; install lightning-dna[flash], or use "
                "auto, flex, sdpa or eager"
            )
        if situation.dtype not in DTYPES:
            return (
                f"flash-attn computes in bfloat16 or float16, and the model runs in "
                f"{str(situation.dtype).removeprefix('torch.')}; set trainer.precision to "
                "bf16-mixed, or use auto, flex, sdpa or eager"
            )
        if config.position_scheme == "alibi_asymmetric":
            return (
                "flash-attn has one ALiBi slope per head, and model.position 'alibi_asymmetric' "
                "has two; use auto, flex, sdpa or eager, or model.position alibi"
            )
        if config.head_width > WIDEST_HEAD:
            return (
                f"flash-attn takes heads of up to {WIDEST_HEAD} channels, and model.width "
                f"{config.width} over model.heads {config.heads} gives {config.head_width}; use "
                "more heads, or auto, flex, sdpa or eager"
            )
        return None

    def packs(self, situation: Situation) -> bool:
        """It takes packed sequences in one call."""
        return True

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, bias: OffsetBias, layout: Layout
    ) -> Float[Tensor, "batch length heads head_width"]:
        """Attend, see :class:`Backend`.

        A mask with holes in a sequence is left to torch's kernel: flash-attn knows no masks.
        """
        functions = _package()
        settings = _settings(bias, q.device)
        if layout is None:
            mixed: Tensor = functions.flash_attn_func(q, k, v, **settings)
            return mixed
        if isinstance(layout, Packing):
            return _attend_packed(functions, q, k, v, layout, settings)
        packing = packing_of(layout)
        if packing is None and not layout.all():  # holes: packing would change distances
            return ScaledDotProduct().attend(q, k, v, bias, layout)
        if packing is None:
            return self.attend(q, k, v, bias, None)
        heads = q.shape[2:]
        q, k, v = (packing.pack(x.flatten(2)).reshape(1, -1, *heads) for x in (q, k, v))
        mixed = _attend_packed(functions, q, k, v, packing, settings)
        return packing.unpack(mixed.flatten(2)).reshape(packing.batch, packing.length, *heads)


def _package() -> ModuleType:
    """Import flash-attn when it is first needed."""
    return importlib.import_module("flash_attn")


def _settings(bias: OffsetBias, device: torch.device) -> dict[str, Any]:
    """Return the arguments of flash-attn that say what is seen and added."""
    config = bias.config
    reach = -1 if config.attention_reach is None else config.attention_reach
    settings: dict[str, Any] = {
        "causal": config.causal,
        "window_size": (reach, 0 if config.causal and reach >= 0 else reach),
    }
    if config.position_scheme == "alibi":
        settings["alibi_slopes"] = bias.slopes()[0].to(device, torch.float32)
    return settings


def _attend_packed(
    functions: ModuleType,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    packing: Packing,
    settings: dict[str, Any],
) -> Tensor:
    """Attend within packed sequences; the spare rows come out as zeros."""
    tokens = len(packing.places)
    longest = max(packing.lengths)
    mixed: Tensor = functions.flash_attn_varlen_func(
        *(x[0, :tokens] for x in (q, k, v)),
        cu_seqlens_q=packing.starts,
        cu_seqlens_k=packing.starts,
        max_seqlen_q=longest,
        max_seqlen_k=longest,
        **settings,
    )
    return torch.nn.functional.pad(mixed, (0, 0, 0, 0, 0, packing.spare))[None]
