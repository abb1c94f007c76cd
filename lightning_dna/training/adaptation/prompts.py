"""Soft prompts: trained vectors in front of every sequence, before the first layer.

The vectors are further rows of the token embedding, and a prompt is their ids in front of a
sequence's. So whatever tells positions apart (ALiBi, RoPE, position vectors, filters) sees the
sequence moved by the prompt's length, packing and masks know nothing of it, and padding stays on
the right. States of the prompt are read by the layers and left out of every pooling.

References:
    Lester et al., The power of scale for parameter-efficient prompt tuning, EMNLP 2021. Nguyen et
    al., HyenaDNA, NeurIPS 2023, section 4.3.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.errors import ConfigError
from lightning_dna.models.initialisation import draw_normal, parameter_generator
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.training.finetune import SequenceClassifier
from lightning_dna.training.finetune_config import FineTuneConfig

PROMPT_WITHOUT_WEIGHT_DECAY = frozenset(
    {"backbone.embedding.prompt", "backbone.embedding.tokens.weight"}
)
"""Names in a :class:`PromptedClassifier` of what is an embedding, as the token embedding is."""


class PromptedEmbedding(nn.Module):
    """A token embedding with the vectors of a prompt behind its last row.

    Args:
        tokens: The embedding that is extended.
        length: Vectors of the prompt.
        std: Standard deviation of their initial values.
        seed: Seed of those.
    """

    def __init__(self, tokens: nn.Embedding, length: int, *, std: float, seed: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.prompt = nn.Parameter(torch.empty(length, tokens.embedding_dim))
        with torch.no_grad():
            draw_normal(self.prompt, std, parameter_generator(seed, "soft_prompt"))

    @property
    def weight(self) -> Tensor:
        """Vectors of the tokens, and then of the prompt."""
        return torch.cat((self.tokens.weight, self.prompt))

    def forward(
        self, input_ids: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length width"]:
        """Look up vectors."""
        return functional.embedding(input_ids, self.weight)


class PromptedClassifier(SequenceClassifier):
    """A classifier whose rows begin with the ids of a prompt, see :attr:`prompt_ids`.

    Args:
        model: The model whose trunk is copied; it is not modified.
        n_classes: Outputs.
        seed: Seed of head and prompt.
        special_ids: Ids that stand for no base.
        config: Length of the prompt, whether the trunk is tuned with it, and the head.

    Raises:
        ConfigError: The model reads both strands, and a prompt would stand before the one and
            behind the other.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        n_classes: int,
        seed: int,
        special_ids: tuple[int, ...] = (),
        config: FineTuneConfig,
    ) -> None:
        if model.config.strand != "single":
            raise ConfigError(
                f"way 'soft_prompt': the model has model.strand '{model.config.strand}' and reads "
                "both strands, where a prompt would stand before the one and behind the other; "
                "use a model with strand 'single', or another way."
            )
        super().__init__(
            model, n_classes=n_classes, seed=seed, special_ids=special_ids, config=config
        )
        self.length = config.prompt_length
        self.backbone.requires_grad_(config.prompt_backbone == "tuned")
        tokens = self.backbone.embedding
        first = len(tokens.weight)
        self.prompt_ids = tuple(range(first, first + self.length))
        self.backbone.embedding = PromptedEmbedding(  # type: ignore[assignment]
            tokens, self.length, std=model.config.initial_std, seed=seed
        )

    def forward(
        self, input_ids: Int[Tensor, "batch length"], attention_mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of every class; rows begin with the prompt."""
        hidden = self.backbone(input_ids, attention_mask)[:, self.length :]
        logits: Tensor = self.head(
            hidden,
            self.bases(input_ids[:, self.length :], attention_mask[:, self.length :]),
            attention_mask[:, self.length :],
        )
        return logits
