"""What is refused before anything is trained: sequences, prompts and pooling that do not fit."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.simulated_tasks import SIMULATED_TASKS
from lightning_dna.models.config import ModelConfig
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.labelled import ClassificationTask
from lightning_dna.tokenizers.kmer import KmerTokenizer
from lightning_dna.training.config import FineTuneConfig

SETTINGS = FineTuneConfig(prompt_length=8)
CARD = TaskCard(
    name="toy",
    kind="simulated_classification",
    title="Toy",
    simulated=min(SIMULATED_TASKS, key=lambda name: SIMULATED_TASKS[name].minimum_length),
    n_train=8,
    n_valid=8,
    n_test=8,
    length=max(64, min(row.minimum_length for row in SIMULATED_TASKS.values())),
    ways=("frozen", "soft_prompt"),
)


def check(max_length: int, *, encoding: Encoding = CHARACTERS, ways=None, **changes) -> None:
    card = CARD if ways is None else replace(CARD, ways=ways)
    task = ClassificationTask(card, SimpleNamespace(tasks_root=None))
    config = ModelConfig(width=8, layers=1, heads=2, max_length=max_length, position="rope")
    task.check_use("mine", config, encoding, replace(SETTINGS, **changes))


def test_what_fits_to_the_last_position_is_taken():
    check(CARD.length + 8)
    check(CARD.length, ways=("frozen", "lora"))
    check(CARD.length - 20, too_long="truncate_center")


def test_a_sequence_too_long_names_both_remedies():
    with pytest.raises(
        ConfigError,
        match=rf"task 'toy' has sequences of {CARD.length} bases, but arm 'mine' has model\.max_len"
        r".*raise model\.max_length under 'shared', or keep the middle.*truncate_center",
    ):
        check(CARD.length - 1, ways=("full",))


def test_a_prompt_counts():
    with pytest.raises(
        ConfigError, match=r"and a prompt of 8 \(finetune\.prompt_length\), but arm"
    ):
        check(CARD.length + 7)


def test_tokens_are_counted_for_other_tokenizers():
    kmers = Encoding(tokenizer=KmerTokenizer(2, closed=True), special=True)
    check(CARD.length, encoding=kmers)
    with pytest.raises(DataError, match=r"arm 'mine' on task 'toy': .* tokens with the special"):
        check(20, encoding=kmers, ways=("full",))


def test_learned_pooling_is_no_way_for_a_probe():
    with pytest.raises(ConfigError, match=r"finetune\.pooling 'attention'.*leave those ways out"):
        check(CARD.length + 8, pooling="attention")
    check(CARD.length + 8, pooling="attention", ways=("full", "lora"))
