"""Making a network with many outputs from a model, in each way of using a checkpoint."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch import nn

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.data.examples import Examples
from lightning_dna.data.regions import LabelledRegions
from lightning_dna.errors import ConfigError, unknown_name
from lightning_dna.genome.alphabet import Codes
from lightning_dna.models.embedding import trunk_at
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.tasks.learning_rates import choose_rate
from lightning_dna.tasks.regions import REGION_WAYS
from lightning_dna.training.adaptation.cnn import state_reader
from lightning_dna.training.adaptation.weight_adapters import add_ia3, add_lora
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import FineTuned, Reader, token_reader, train_on
from lightning_dna.training.inputs import Inputs, TokenInputs
from lightning_dna.training.loop import Objective, predicted
from lightning_dna.training.region_network import OneHot, RegionHead, RegionNetwork

Outputs = npt.NDArray[np.float64]
Record = dict[str, Any]

FROM_INITIAL = ("scratch", "random")
_ON_STATES = ("frozen", "frozen_cnn", "random")
_CHUNK = 4096  # sequences whose ids or states exist at a time when predicting


@dataclass(frozen=True, kw_only=True, eq=False)
class Wanted:
    """What a network is to put out, and what it is trained for.

    Attributes:
        outputs: Number of outputs, of a region or of each bin.
        objective: Loss, and the metric that chooses.
        hidden: Channels of the two convolutions where there are any; ``None``: those of the
            settings.
        bin: Bases of a bin; ``None``: one set of outputs for the whole region.
    """

    outputs: int
    objective: Objective
    hidden: int | None = None
    bin: int | None = None

    def head(self, width: int, config: FineTuneConfig, *, seed: int, cnn: bool) -> RegionHead:
        """Build a head."""
        convolutions = (self.hidden or config.cnn_width, config.cnn_taps) if cnn else None
        return RegionHead(width, self.outputs, seed=seed, convolutions=convolutions, bin=self.bin)


def adapt_regions(
    way: str,
    start: LanguageModel,
    parts: tuple[LabelledRegions, LabelledRegions, LabelledRegions],
    wanted: Wanted,
    config: FineTuneConfig,
    *,
    seed: int,
    device: str = "cpu",
    encoding: Encoding = CHARACTERS,
) -> tuple[Outputs, Record]:
    """Train in one way, and return the outputs of the test regions and a record.

    Args:
        way: A row of ``REGION_WAYS``: ``frozen`` and ``random`` train a linear layer on states
            that are computed once, ``frozen_cnn`` two convolutions and a linear layer; ``full`` and
            ``scratch`` all weights under a linear layer; ``lora`` and ``ia3`` their factors.
        start: The model to start from; not modified.
        parts: Training, validation and test regions.
        wanted: Outputs and objective.
        config: Settings; of several learning rates the validation regions choose.
        seed: Seed of the head, the order of the regions and dropout.
        device: Where to compute.
        encoding: How sequences become the ids that the model reads.

    Raises:
        ConfigError: If the way is unknown or training diverges, or bins of bases are wanted of a
            model whose tokens are not bases.
        DataError: If a sequence is longer than the model allows.
    """
    if way not in REGION_WAYS:
        raise unknown_name("way", way, REGION_WAYS)
    train, valid, test = parts
    if wanted.bin is not None:
        _check_tokens(encoding, train.codes)
    tokens = token_reader(start.config, encoding, too_long=config.too_long)
    states = _read_once(state_reader(start, config, encoding, device=device), train, valid)

    def once(one: FineTuneConfig) -> FineTuned:
        head = wanted.head(start.config.width, one, seed=seed, cnn=way == "frozen_cnn")
        if way in _ON_STATES:
            return _trained(head, states, train, valid, wanted, one, seed, device, frozenset())
        trunk = trunk_at(start.backbone, one.layer)
        if way == "lora":
            rank, alpha = one.lora_rank, one.lora_alpha
            add_lora(trunk, one.lora_targets, rank=rank, alpha=alpha, seed=seed)
        elif way == "ia3":
            add_ia3(trunk, one.lora_targets)
        network = RegionNetwork(trunk, head, encoding.special_ids)
        spared = start.without_weight_decay()
        return _trained(network, tokens, train, valid, wanted, one, seed, device, spared)

    return _chosen(once, config, test)


def train_one_hot(
    parts: tuple[LabelledRegions, LabelledRegions, LabelledRegions],
    wanted: Wanted,
    config: FineTuneConfig,
    *,
    seed: int,
    device: str = "cpu",
) -> tuple[Outputs, Record]:
    """Train BEND's convolutions on the bases themselves: its one-hot baseline."""
    train, valid, test = parts

    def reader(codes: Sequence[Codes], where: str) -> Inputs:
        return TokenInputs.of(codes, CHARACTERS)

    def once(one: FineTuneConfig) -> FineTuned:
        network = RegionNetwork(OneHot(), wanted.head(OneHot.width, one, seed=seed, cnn=True))
        return _trained(network, reader, train, valid, wanted, one, seed, device, frozenset())

    return _chosen(once, config, test)


def _trained(
    network: nn.Module,
    reader: Reader,
    train: LabelledRegions,
    valid: LabelledRegions,
    wanted: Wanted,
    config: FineTuneConfig,
    seed: int,
    device: str,
    spared: frozenset[str],
) -> FineTuned:
    """Train a network on what a reader makes of the regions."""
    return train_on(
        network,
        reader,
        cast(Examples, train),  # codes and labels are all that is read of them
        cast(Examples, valid),
        config,
        seed=seed,
        objective=wanted.objective,
        device=device,
        without_weight_decay=spared,
    )


def _chosen(
    once: Callable[[FineTuneConfig], FineTuned], config: FineTuneConfig, test: LabelledRegions
) -> tuple[Outputs, Record]:
    """Try each learning rate, and predict the test regions with the best on validation."""
    choice = choose_rate(once, config)
    tuned = choice.tuned
    return np.concatenate([*_predicted(tuned, test)]), {
        "parameters_updated": tuned.parameters_updated,
        "best_epoch": tuned.best_epoch,
        "epochs_run": tuned.epochs_run,
        "chosen_c": None,
        "c_at_edge": None,
        "chosen_lr": choice.rate,
        "lr_at_edge": choice.at_edge,
        "tried": list(choice.tried),
        "valid_metric": tuned.valid_metric,
        "examples_per_second": tuned.examples_per_second,
        "context_length": tuned.context_length,
        "notes": [],
    }


def _predicted(tuned: FineTuned, test: LabelledRegions) -> Iterator[Outputs]:
    """Yield the outputs of the test regions, some of them at a time."""
    for first in range(0, len(test), _CHUNK):
        inputs = tuned.reader(test.codes[first : first + _CHUNK], "test part")
        yield predicted(tuned.classifier, inputs, objective=tuned.objective)


def _read_once(reader: Reader, train: LabelledRegions, valid: LabelledRegions) -> Reader:
    """Return a reader that keeps what it made of the training and validation regions.

    Every learning rate reads them, and running the model is what costs.
    """
    kept: dict[int, Inputs] = {}
    parts = {id(part.codes): part for part in (train, valid)}

    def read(codes: Sequence[Codes], where: str) -> Inputs:
        if id(codes) not in parts:
            return reader(codes, where)
        if id(codes) not in kept:
            kept[id(codes)] = reader(codes, where)
        return kept[id(codes)]

    return read


def _check_tokens(encoding: Encoding, codes: Sequence[Codes]) -> None:
    """Refuse a tokenizer that does not have one token for each base."""
    row = encoding.row(codes[0])
    bases = int(np.isin(row, encoding.special_ids, invert=True).sum())
    if bases != len(codes[0]):
        raise ConfigError(
            f"a task with a label for every base needs one token for each base; this checkpoint "
            f"reads {len(codes[0])} bases as {bases} tokens. Leave the arm out of the suite."
        )
