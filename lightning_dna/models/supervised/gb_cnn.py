"""The convolutional network of the GenomicBenchmarks paper, as published and without its mistake.

As published: letters with ``<bos>`` and ``<eos>`` around them, an embedding of 100 channels, three
convolutions of 8 taps to 16, 8 and 4 channels, each with batch norm and the maximum of every two
positions, a ReLU after the first one alone, and two linear layers with nothing between. Two classes
have one output, which goes through a sigmoid and then into a loss that applies the sigmoid again:
the loss sees numbers in (0, 1), so that it can give class 1 no more than 73 % and class 0 no more
than 50 %. Predictions are rounded after one sigmoid.

Three or more classes have an output each and no sigmoid, in the published code too: there the two
networks here are the same.

Differences from the published code: the vocabulary always has nine entries, where theirs has the
letters that occur; and how it is trained is the caller's business (theirs: Adam at 1e-3, batches of
64).

References:
    Gresova et al., Genomic benchmarks, BMC Genomic Data 2023; ``genomic_benchmarks.models.torch``.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lightning_dna.models.supervised.inputs import (
    N_BASES,
    base_codes,
    left_aligned,
    weights_of_seed,
)

EMBEDDING = 100
CHANNELS = (16, 8, 4)
TAPS = 8
HIDDEN = 512
BEGIN, END, PADDING = N_BASES + 1, N_BASES + 2, N_BASES + 3
VOCABULARY = N_BASES + 4  # five letters, unknown, begin, end, padding
SHORTEST = 57  # tokens that leave one position after three convolutions and three halvings


def input_length(lengths: Sequence[int]) -> int:
    """Return the tokens that the network reads, from the lengths of the training sequences.

    The longest one with its two ends, and, as published, one of padding where lengths differ.

    Example:
        >>> input_length([200, 200]), input_length([150, 200])
        (202, 203)
    """
    tokens = max(lengths) + (2 if min(lengths) == max(lengths) else 3)
    return max(tokens, SHORTEST)


class GenomicBenchmarksCNN(nn.Module):
    """The network, from token ids to the logits of every class.

    Its last layers depend on the length of the input, so every sequence becomes ``length`` tokens:
    shorter ones are padded on the right with a token of their own, which is read as any other;
    longer ones lose their end.

    Args:
        n_classes: Number of classes, at least 2.
        length: Tokens that the network reads, at least 57; see :func:`input_length`.
        seed: Seed of the initial weights, drawn by torch's own rules as published.
        double_sigmoid: With two classes, whether the loss gets ``sigmoid(output)`` in place of the
            output. In evaluation mode the output itself is returned: its sign is what the published
            rounding looks at.
    """

    def __init__(self, n_classes: int, *, length: int, seed: int, double_sigmoid: bool) -> None:
        super().__init__()
        self.length = length
        self.binary = n_classes == 2
        self.double_sigmoid = double_sigmoid and self.binary
        layers: list[nn.Module] = []
        positions = length
        with weights_of_seed(seed):
            self.embedding = nn.Embedding(VOCABULARY, EMBEDDING)
            for source, channels in zip((EMBEDDING, *CHANNELS), CHANNELS, strict=False):
                layers += [nn.Conv1d(source, channels, TAPS), nn.BatchNorm1d(channels)]
                if source == EMBEDDING:
                    layers.append(nn.ReLU())
                layers.append(nn.MaxPool1d(2))
                positions = (positions - TAPS + 1) // 2
            self.convolutions = nn.Sequential(*layers)
            self.hidden = nn.Linear(positions * CHANNELS[-1], HIDDEN)
            self.output = nn.Linear(HIDDEN, 1 if self.binary else n_classes)

    def tokens(
        self, input_ids: Int[Tensor, "batch length"], attention_mask: Bool[Tensor, "batch length"]
    ) -> Int[Tensor, "batch tokens"]:
        """Return what the network reads: begin, bases, end, padding; cut at its length."""
        ids, real = left_aligned(input_ids, attention_mask)
        within = min(ids.shape[1], self.length - 1)
        read = ids.new_full((len(ids), self.length), PADDING)
        read[:, 0] = BEGIN
        codes = base_codes(ids).masked_fill(~real, PADDING)
        read[:, 1 : 1 + within] = codes[:, :within]
        place = torch.arange(self.length, device=ids.device)
        return read.masked_fill(place == real.sum(dim=1, keepdim=True) + 1, END)

    def forward(
        self, input_ids: Int[Tensor, "batch length"], attention_mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch classes"]:
        """Return logits. Two classes get 0 and the output, so that softmax is its sigmoid."""
        embedded = self.embedding(self.tokens(input_ids, attention_mask))
        features = self.convolutions(embedded.transpose(1, 2)).flatten(1)
        out: Tensor = self.output(self.hidden(features))
        if not self.binary:
            return out
        if self.double_sigmoid and self.training:
            out = out.sigmoid()
        return torch.cat((torch.zeros_like(out), out), dim=1)
