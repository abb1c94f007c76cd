"""A backbone with a tied language-model head, and the function that builds it from a seed."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lightning_dna.models.backbone import FEW_SHAPES
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.heads import TransformHead, tied_logits
from lightning_dna.models.initialisation import initialise
from lightning_dna.models.mixers.hyena import ImplicitFilter
from lightning_dna.models.strand import TwoStrandBackbone, make_backbone


@dataclass(frozen=True)
class ModelOutput:
    """What a language model returns.

    Attributes:
        logits: Score of every token at every position, before the softmax. For ``next_token``
            models the scores at position t are of the token at t + 1.
        hidden: Hidden states after the final norm.
    """

    logits: Float[Tensor, "batch length vocabulary"]
    hidden: Float[Tensor, "batch length width"]


class LanguageModel(nn.Module):
    """Masked or next-token language model, as its config's ``objective`` says."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = make_backbone(config)
        self.head = None if config.head == "tied" else TransformHead(config)

    def forward(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Bool[Tensor, "batch length"] | None = None,
    ) -> ModelOutput:
        """Score a batch.

        Args:
            input_ids: Token ids below ``config.vocab_size``.
            attention_mask: True at real positions; ``None`` means that all are. Padded positions
                never change the output at real ones.

        Returns:
            Logits and hidden states; those of padded positions mean nothing.

        Raises:
            ConfigError: The batch is longer than learned positions or Hyena filters reach.
        """
        trunk = self.backbone
        if isinstance(trunk, TwoStrandBackbone) and trunk.reads_both:
            as_given, turned = trunk.strands(input_ids, attention_mask)
            # What the other strand takes for a T is an A on this one.
            logits = self._logits(as_given) + self._logits(turned)[..., trunk.complement]
            return ModelOutput(logits=logits / 2, hidden=(as_given + turned) / 2)
        hidden = trunk(input_ids, attention_mask)
        return ModelOutput(logits=self._logits(hidden), hidden=hidden)

    def logits_at(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Bool[Tensor, "batch length"] | None,
        where: Bool[Tensor, "batch length"],
    ) -> Float[Tensor, "chosen vocabulary"]:
        """Score tokens at some positions only, as a loss over targets needs them.

        The trunk reads the whole batch; the head works on the chosen positions alone.

        Args:
            input_ids: Token ids below ``config.vocab_size``.
            attention_mask: True at real positions; ``None`` means that all are.
            where: True at the positions to score.

        Returns:
            ``self(input_ids, attention_mask).logits[where]``, to rounding.

        Raises:
            ConfigError: As for a call of the model.

        Example:
            >>> model = build_model(ModelConfig(width=8, layers=1, heads=2), seed=0)
            >>> ids = torch.tensor([[7, 8, 9]])
            >>> model.logits_at(ids, None, ids > 7).shape
            torch.Size([2, 16])
        """
        trunk = self.backbone
        if isinstance(trunk, TwoStrandBackbone) and trunk.reads_both:
            as_given, turned = trunk.strands(input_ids, attention_mask)
            logits = self._logits_of(as_given[where])
            return (logits + self._logits_of(turned[where])[:, trunk.complement]) / 2
        return self._logits_of(trunk(input_ids, attention_mask)[where])

    def _logits_of(
        self, tokens: Float[Tensor, "tokens width"]
    ) -> Float[Tensor, "tokens vocabulary"]:
        """Score single tokens, in one of few batch sizes, see ``FEW_SHAPES``."""
        spare = -len(tokens) % FEW_SHAPES
        padded = nn.functional.pad(tokens, (0, 0, 0, spare))
        return self._logits(padded[None])[0, : len(tokens)]

    def _logits(
        self, hidden: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length vocabulary"]:
        """Score every token at every position."""
        if self.head is None:
            return tied_logits(hidden, self.backbone.embedding)
        logits: Tensor = self.head(hidden, self.backbone.embedding)
        return logits

    def without_weight_decay(self) -> frozenset[str]:
        """Return the names of parameters that weight decay should leave alone.

        All but the matrices of linear layers, and the networks that write Hyena's filters too.
        """
        modules = list(self.modules())
        filters = [module for module in modules if isinstance(module, ImplicitFilter)]
        spared = {id(parameter) for module in filters for parameter in module.parameters()}
        decayed = {id(module.weight) for module in modules if isinstance(module, nn.Linear)}
        return frozenset(
            name
            for name, parameter in self.named_parameters()
            if id(parameter) not in decayed - spared
        )


def build_model(config: ModelConfig, *, seed: int) -> LanguageModel:
    """Build a model whose initial weights depend only on the seed and on each parameter's name.

    Parameters of the same name and shape are therefore equal in all arms built with one seed. The
    global random generator is left as it was.

    Args:
        config: The model's settings.
        seed: Any integer; 0 is a seed like others.

    Returns:
        The model, float32, on the CPU, in training mode.

    Example:
        >>> model = build_model(ModelConfig(width=8, layers=1, heads=2), seed=0)
        >>> model(torch.tensor([[7, 8, 9]])).logits.shape
        torch.Size([1, 3, 16])
    """
    with torch.random.fork_rng(
        devices=[]
    ):  # torch's layers draw weights on construction; ours replace them
        model = LanguageModel(config)
    initialise(model, seed=seed, std=config.initial_std)
    return model
