"""What stands on a backbone: next-base or masked-base logits, and the class of a whole sequence."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.initialisation import GeneratorFor, draw_normal, parameter_generator
from lightning_dna.models.norms import make_norm


def tied_logits(
    hidden: Float[Tensor, "batch length width"], embedding: nn.Embedding
) -> Float[Tensor, "batch length vocabulary"]:
    """Score every token by its own embedding: no parameter beyond the table, and no bias."""
    return functional.linear(hidden, embedding.weight)


class TransformHead(nn.Module):
    """``table norm(GELU(W hidden + b)) + bias``, as BERT and ESM score tokens.

    The table is the token embedding, or one of its own where the config's ``head`` says untied.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width, bias=config.biases)
        self.norm = make_norm(config)
        untied = config.head == "transform_untied"
        self.table = nn.Linear(config.width, config.vocab_size, bias=False) if untied else None
        self.bias = nn.Parameter(torch.zeros(config.vocab_size)) if config.biases else None

    def initialise(self, generator_for: GeneratorFor) -> None:
        """Set the bias to zero; the layers follow the general rule."""
        if self.bias is not None:
            self.bias.zero_()

    def forward(
        self, hidden: Float[Tensor, "batch length width"], embedding: nn.Embedding
    ) -> Float[Tensor, "batch length vocabulary"]:
        """Score every token at every position."""
        transformed = self.norm(functional.gelu(self.dense(hidden)))
        table = embedding.weight if self.table is None else self.table.weight
        return functional.linear(transformed, table, self.bias)


def mean_pool(
    hidden: Float[Tensor, "batch length width"],
    attention_mask: Bool[Tensor, "batch length"] | None = None,
) -> Float[Tensor, "batch width"]:
    """Average over the real positions of each row; a row without any gives zeros.

    Example:
        >>> hidden = torch.tensor([[[1.0], [3.0], [100.0]]])
        >>> mean_pool(hidden, torch.tensor([[True, True, False]])).tolist()
        [[2.0]]
    """
    if attention_mask is None:
        return hidden.mean(dim=1)
    real = attention_mask[..., None].to(hidden.dtype)  # batch length 1
    return (hidden * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)


class ClassificationHead(nn.Module):
    """Mean over the real positions, then one linear layer: what fine-tuning puts on a backbone.

    Its initial weights depend on the seed alone, so all arms start from the same head.
    """

    def __init__(self, width: int, *, n_classes: int, seed: int, std: float = 0.02) -> None:
        super().__init__()
        self.linear = nn.Linear(width, n_classes, device="meta").to_empty(device="cpu")
        with torch.no_grad():
            draw_normal(
                self.linear.weight, std, parameter_generator(seed, "classification_head.weight")
            )
            self.linear.bias.zero_()

    def forward(
        self,
        hidden: Float[Tensor, "batch length width"],
        attention_mask: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of every class."""
        logits: Tensor = self.linear(mean_pool(hidden, attention_mask))
        return logits
