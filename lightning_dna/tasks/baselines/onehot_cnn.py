"""A small convolutional network on one-hot bases: what training from nothing reaches cheaply."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.models.initialisation import draw_normal, parameter_generator
from lightning_dna.tokenizers.character import CharacterTokenizer

WIDTH = 64
KERNELS = (11, 7, 7)
POOL = 4  # bases; after the first convolution, so that the others cost a quarter and see four times


class OneHotCNN(nn.Module):
    """Three convolutions with ReLU, the maximum over positions, and a linear layer.

    After the first convolution, the maximum over every four positions is taken. N is a row of
    zeros. Padded positions are set to zero before every convolution and every maximum, which after
    ReLU is the least there is, so that padding never changes the output.
    """

    def __init__(self, n_classes: int, *, seed: int) -> None:
        super().__init__()
        channels = (4, *(WIDTH for _ in KERNELS))
        with torch.random.fork_rng(devices=[]):  # the layers draw weights; ours replace them
            self.convolutions = nn.ModuleList(
                nn.Conv1d(channels[layer], WIDTH, kernel, padding=kernel // 2)
                for layer, kernel in enumerate(KERNELS)
            )
            self.output = nn.Linear(WIDTH, n_classes)
        base_ids = torch.from_numpy(CharacterTokenizer().base_ids)
        self.register_buffer("base_ids", base_ids, persistent=False)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.ndim == 1:
                    parameter.zero_()
                else:  # He's rule: keeps the variance through ReLU
                    std = math.sqrt(2 / parameter[0].numel())
                    draw_normal(parameter, std, parameter_generator(seed, f"onehot_cnn.{name}"))

    def forward(
        self, input_ids: Int[Tensor, "batch length"], attention_mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of every class."""
        base_ids: Tensor = self.base_ids  # type: ignore[assignment]
        x = (input_ids[:, None, :] == base_ids[:, None]).to(self.output.weight.dtype)
        real = attention_mask[:, None, :].to(x.dtype)  # batch 1 length
        for layer, convolution in enumerate(self.convolutions):
            x = functional.relu(convolution(x)) * real  # batch width length
            if layer == 0:  # the last window may be shorter: no base is dropped
                x = functional.max_pool1d(x, POOL, ceil_mode=True)
                real = functional.max_pool1d(real, POOL, ceil_mode=True)
        logits: Tensor = self.output(x.amax(dim=-1))
        return logits
