"""Initial weights that depend on the seed and on the parameter's name, and on nothing else.

Two arms that share a part start from the same numbers in it, however different the rest of them is,
and the order in which a model is built does not matter. The global random generator is neither read
nor moved.
"""

import hashlib
import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

GeneratorFor = Callable[[str], torch.Generator]


@runtime_checkable
class Initialises(Protocol):
    """A module with parameters of a kind the rules below do not know, which it fills itself."""

    def initialise(self, generator_for: GeneratorFor) -> None:
        """Fill the module's own parameters, each from its stream ``generator_for(name)``."""


class ResidualLinear(nn.Linear):
    """A projection into the residual stream: weights start smaller by ``sqrt(2 layers)``.

    As in GPT-2: there are two per block, so their summed variance does not grow with depth.
    """

    def __init__(self, inputs: int, outputs: int, *, layers: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.initial_scale = 1.0 / math.sqrt(2 * layers)


def parameter_generator(seed: int, name: str) -> torch.Generator:
    """Return the random stream of one parameter: a pure function of seed and full name."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def draw_normal(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    """Fill a parameter with N(0, std), drawn in float32 on the CPU: the same for every dtype."""
    parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float32) * std)


@torch.no_grad()
def initialise(model: nn.Module, *, seed: int, std: float) -> None:
    """Fill every parameter of a model.

    Linear and embedding weights are N(0, ``std``), biases 0, projections into the residual stream
    smaller by ``sqrt(2 layers)``, norms the identity (HyenaDNA's rule, which is GPT-2's). Other
    parameters are filled by the module that owns them.

    Args:
        model: The model, any initial state.
        seed: Any integer; 0 is a seed like others.
        std: Standard deviation of the weights.

    Raises:
        TypeError: A module owns parameters and neither has a rule here nor an ``initialise``
            method.
    """
    for path, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if not own:
            continue
        prefix = f"{path}." if path else ""

        def generator_for(name: str, prefix: str = prefix) -> torch.Generator:
            return parameter_generator(seed, prefix + name)

        if isinstance(module, Initialises):
            module.initialise(generator_for)
        elif isinstance(module, nn.Linear | nn.Embedding):
            scale = module.initial_scale if isinstance(module, ResidualLinear) else 1.0
            draw_normal(module.weight, std * scale, generator_for("weight"))
            if "bias" in own:
                own["bias"].zero_()
        elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
            module.reset_parameters()
        else:
            raise TypeError(
                f"no rule for the initial weights of {type(module).__name__} at '{path}'"
            )
