"""Mamba's selective state space in plain torch, causal or two-sided; no compiled program is needed.

Every channel keeps a few states that decay and take in its input; how fast, how much, and how they
are read out are functions of the input itself. The recurrence is exact, and takes about
``2 sqrt(length)`` steps in sequence: all chunks of the sequence run beside each other from an empty
state, then the states at the chunks' ends are handed on.

The two-sided form is Caduceus's BiMamba: one scan each way with its own short convolution and
parameters, and one projection in and one out for both.

Differences from the published code: it keeps every state of every position for the backward pass,
where the compiled kernel computes them again, so it needs ``states`` times the memory of its
channels and is slow on long sequences.

References:
    Gu and Dao, Mamba: linear-time sequence modeling with selective state spaces, 2023. Schiff et
    al., Caduceus, ICML 2024.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.initialisation import GeneratorFor, ResidualLinear
from lightning_dna.models.linear_maps import LinearMap

STATES = 16  # of every channel
EXPANSION = 2  # inner channels over width
TAPS = 4  # of the short convolution, the last one being the present
CHANNELS_PER_RANK = 16  # model channels over the rank of the step's projection
SHORTEST_STEP, LONGEST_STEP = 1e-3, 1e-1  # range of the initial steps
FLOPS_OF_A_STATE = 6.0  # decay, intake and read-out of one state at one position


def scan(
    decay: Float[Tensor, "batch length channels states"],
    intake: Float[Tensor, "batch length channels states"],
) -> Float[Tensor, "batch length channels states"]:
    """Return ``h[t] = decay[t] h[t - 1] + intake[t]`` with ``h[-1] = 0``, for every position.

    Args:
        decay: Factors in [0, 1].
        intake: What comes in.

    Example:
        >>> half, ones = torch.full((1, 3, 1, 1), 0.5), torch.ones(1, 3, 1, 1)
        >>> scan(half, ones).flatten().tolist()
        [1.0, 1.5, 1.75]
    """
    length = decay.shape[1]
    size = math.isqrt(length - 1) + 1  # of a chunk
    rest = -length % size
    decay = functional.pad(decay, (0, 0, 0, 0, 0, rest), value=1.0)
    intake = functional.pad(intake, (0, 0, 0, 0, 0, rest))
    chunked = (len(decay), -1, size, *decay.shape[2:])
    decays, intakes = decay.reshape(chunked).unbind(2), intake.reshape(chunked).unbind(2)
    inside, passed = [intakes[0]], [decays[0]]  # each: batch chunks channels states
    for step in range(1, size):
        inside.append(decays[step] * inside[-1] + intakes[step])
        passed.append(decays[step] * passed[-1])
    entering = [torch.zeros_like(inside[0][:, 0])]  # batch channels states
    for kept, left in zip(passed[-1].unbind(1)[:-1], inside[-1].unbind(1)[:-1], strict=True):
        entering.append(kept * entering[-1] + left)
    before = torch.stack(entering, dim=1)[:, :, None]  # batch chunks 1 channels states
    states = torch.stack(inside, dim=2) + torch.stack(passed, dim=2) * before
    return states.flatten(1, 2)[:, :length]


class StepProjection(nn.Linear):
    """From the low rank to a step for every channel; initial steps lie between 0.001 and 0.1."""

    def initialise(self, generator_for: GeneratorFor) -> None:
        """Draw as published: weights within 1/sqrt(rank), steps evenly in their logarithm."""
        bound = self.in_features**-0.5
        uniform = torch.rand(self.weight.shape, generator=generator_for("weight"))
        self.weight.copy_((2 * uniform - 1) * bound)
        ratio = torch.rand(self.bias.shape, generator=generator_for("bias"))
        step = SHORTEST_STEP * (LONGEST_STEP / SHORTEST_STEP) ** ratio
        self.bias.copy_(step.expm1().log())  # softplus gives the step back


class SelectiveScan(nn.Module):
    """One direction: a short causal convolution, SiLU, and the selective state space."""

    def __init__(self, channels: int, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.short_weight = nn.Parameter(torch.empty(channels, TAPS))
        self.short_bias = nn.Parameter(torch.empty(channels))
        self.select = nn.Linear(channels, rank + 2 * STATES, bias=False)
        self.step = StepProjection(rank, channels)
        self.log_rate = nn.Parameter(torch.empty(channels, STATES))
        self.skip = nn.Parameter(torch.empty(channels))

    def initialise(self, generator_for: GeneratorFor) -> None:
        """Fill as published: rates 1 to 16, skips 1, taps uniform within 1/sqrt(taps)."""
        bound = TAPS**-0.5
        short = {"short_weight": self.short_weight, "short_bias": self.short_bias}
        for name, parameter in short.items():
            uniform = torch.rand(parameter.shape, generator=generator_for(name))
            parameter.copy_((2 * uniform - 1) * bound)
        self.log_rate.copy_(torch.arange(1, STATES + 1).log().expand_as(self.log_rate))
        self.skip.fill_(1.0)

    def forward(
        self,
        x: Float[Tensor, "batch length channels"],
        real: Bool[Tensor, "batch length"] | None,
    ) -> Float[Tensor, "batch length channels"]:
        """Read the sequence from its first position on, in float32 at least.

        Padding takes no step: states pass it as they are.
        """
        if real is not None:
            x = x.masked_fill(~real[..., None], 0.0)
        signal = functional.pad(x.transpose(1, 2), (TAPS - 1, 0))
        taps = self.short_weight[:, None].to(x.dtype)
        bias = self.short_bias.to(x.dtype)
        seen = functional.silu(functional.conv1d(signal, taps, bias, groups=len(taps)))
        x = seen.transpose(1, 2)  # batch length channels
        low, write, read = self.select(x).split((self.rank, STATES, STATES), dim=-1)
        precision = torch.promote_types(x.dtype, torch.float32)
        step = functional.softplus(self.step(low).to(precision))
        if real is not None:
            step = step.masked_fill(~real[..., None], 0.0)
        u, write, read = x.to(precision), write.to(precision), read.to(precision)
        rate = self.log_rate.to(precision).exp()  # channels states
        decay = (-step[..., None] * rate).exp()  # batch length channels states
        states = scan(decay, (step * u)[..., None] * write[:, :, None])
        out = (states * read[:, :, None]).sum(dim=-1) + self.skip.to(precision) * u
        mixed: Tensor = out.to(x.dtype)
        return mixed

    def flops_per_base(self) -> dict[str, float]:
        """Return forward FLOPs per base by kind, a multiply-add being two."""
        return {
            "projection": 2.0 * (self.select.weight.numel() + self.step.weight.numel()),
            "short_convolution": 2.0 * self.short_weight.numel(),
            "scan": FLOPS_OF_A_STATE * self.log_rate.numel(),
        }


class Mamba(nn.Module):
    """``W (scan(x) * SiLU(gate))``, x and gate projected from the input; two scans if two-sided.

    Args:
        config: The model's settings.
        layer: Number of the layer from 0; all layers are alike.
    """

    def __init__(self, config: ModelConfig, layer: int = 0) -> None:
        super().__init__()
        channels = EXPANSION * config.width
        rank = -(-config.width // CHANNELS_PER_RANK)
        self.input = nn.Linear(config.width, 2 * channels, bias=False)
        directions = 1 if config.causal else 2
        self.scans = nn.ModuleList(SelectiveScan(channels, rank) for _ in range(directions))
        self.output = ResidualLinear(channels, config.width, layers=config.layers, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        attention_mask: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """Mix positions.

        Args:
            x: Normalised input.
            attention_mask: True at real positions. The others are zero before the convolution and
                leave every state as it is.

        Returns:
            What the block adds to its residual stream.
        """
        signal, gate = self.input(x).chunk(2, dim=-1)  # each: batch length channels
        mixed = self.scans[0](signal, attention_mask)
        if len(self.scans) == 2:
            turned_mask = None if attention_mask is None else attention_mask.flip(1)
            mixed = mixed + self.scans[1](signal.flip(1), turned_mask).flip(1)
        added: Tensor = self.output(mixed * functional.silu(gate))
        return added

    def linear_maps(self) -> dict[str, LinearMap]:
        """Return the linear maps that adapters may change."""
        return {
            "input": LinearMap("input", lora=True, ia3=True),
            "output": LinearMap("output", lora=True),
        }

    def flops_per_base(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per base by kind, a multiply-add being two."""
        total = {"projection": 2.0 * (self.input.weight.numel() + self.output.weight.numel())}
        for one in self.scans:
            if isinstance(one, SelectiveScan):
                for kind, flops in one.flops_per_base().items():
                    total[kind] = total.get(kind, 0.0) + flops
        return total
