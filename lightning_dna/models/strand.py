"""Reading both strands: a sequence and its reverse complement through the same weights.

Both ways below make the model equivariant: the reverse complement of the input gives the reverse
complement of the output, exactly, whatever the mixer. Two passes that share their weights and meet
at the end compute what a network with doubled channels and tied halves computes (Caduceus-PS),
whose halves meet no earlier; they differ in that hidden states are averaged here and laid side by
side there.

References:
    Zhou et al., Towards a better understanding of reverse-complement equivariance for deep learning
    models in regulatory genomics, MLCB 2022. Schiff et al., Caduceus, ICML 2024.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lightning_dna.models.backbone import Backbone, checked_mask
from lightning_dna.models.config import ModelConfig

# A with T and C with G, by their ids in the character tokenizer; everything else is its own
# complement.
COMPLEMENTARY_IDS = ((7, 10), (8, 9))


def complement_table(vocab_size: int) -> Int[Tensor, " vocabulary"]:
    """Return the complement of every token id.

    Example:
        >>> complement_table(12).tolist()
        [0, 1, 2, 3, 4, 5, 6, 10, 9, 8, 7, 11]
    """
    table = torch.arange(vocab_size)
    for one, other in COMPLEMENTARY_IDS:
        table[one], table[other] = other, one
    return table


class TwoStrandBackbone(Backbone):
    """A backbone whose hidden states are averaged over both strands.

    With ``strand = "averaged"`` it does so in evaluation mode alone, with ``"equivariant"`` always.
    Its parameters are those of a plain backbone, by name and by initial value.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.complement: Tensor
        self.register_buffer("complement", complement_table(config.vocab_size), persistent=False)

    @property
    def reads_both(self) -> bool:
        """Whether both strands are read in the present mode."""
        return self.config.strand == "equivariant" or not self.training

    def strands(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Bool[Tensor, "batch length"] | None = None,
    ) -> tuple[Float[Tensor, "batch length width"], Float[Tensor, "batch length width"]]:
        """Return the hidden states of both strands, those of the other turned back.

        Row and position of both mean the same base pair. Padding turns with its row.
        """
        attention_mask = checked_mask(attention_mask, input_ids)  # before its rows are doubled
        other = self.complement[input_ids].flip(1)
        both = torch.cat((input_ids, other))  # 2*batch length
        if attention_mask is not None:
            attention_mask = torch.cat((attention_mask, attention_mask.flip(1)))
        as_given, turned = super().forward(both, attention_mask).chunk(2)
        return as_given, turned.flip(1)

    def forward(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """Return the hidden states after the final norm, see :class:`Backbone`."""
        if not self.reads_both:
            return super().forward(input_ids, attention_mask)
        as_given, turned = self.strands(input_ids, attention_mask)
        return (as_given + turned) / 2


def make_backbone(config: ModelConfig) -> Backbone:
    """Return the trunk that the settings ask for."""
    return Backbone(config) if config.strand == "single" else TwoStrandBackbone(config)
