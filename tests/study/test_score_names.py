"""Names of score files: what is scored again when a card changes, and what is not."""

from dataclasses import replace

from lightning_dna.study.score_names import score_file, task_digest
from lightning_dna.tasks.card import TaskCard
from lightning_dna.training.config import FineTuneConfig

CARD = TaskCard(name="v", kind="variant_effect", title="v", files={"variants": "v.csv"})


def names(card):
    digest = task_digest(card, {"variants": "a hash of them"})
    return {table: score_file(card, digest, table, FineTuneConfig()) for table in card.tables}


def test_another_score_of_variants_is_scored_alone():
    before, after = names(CARD), names(replace(CARD, scores=("untrained_llr", "llr")))
    assert after["llr"] == before["llr"]
    assert len({*before.values(), *after.values()}) == 3
    # As they were named before a card could ask for controls.
    assert names(replace(CARD, scores=("llr", "embedding_cosine"))) == before
    assert names(replace(CARD, window_length=64))["llr"] != before["llr"]


def test_another_way_is_scored_alone():
    files = {part: f"{part}.csv" for part in ("train", "valid", "test")}
    card = TaskCard(name="c", kind="classification", title="c", files=files)
    before, after = names(card), names(replace(card, ways=("random", "frozen", "lora")))
    assert [*before] == ["frozen", "full"]
    assert after["frozen"] == before["frozen"]
    assert len({*before.values(), *after.values()}) == 4


def test_names_are_those_of_the_tables_that_exist():
    """Names that a former version gave, with the ways that a card has by itself."""
    files = {part: f"{part}.csv" for part in ("train", "valid", "test")}
    card = TaskCard(name="c", kind="classification", title="c", files=files)
    digest = task_digest(card, {"train": "x"})
    assert digest == "f402f99dd44f"
    former = FineTuneConfig(probe_c=(0.01, 0.1, 1.0, 10.0))
    assert score_file(card, digest, "frozen", former) == "scores/c-frozen-a0101ac7e79f.parquet"
    # What a probe chooses among is no matter of other ways.
    full = score_file(card, digest, "full", former)
    assert full == score_file(card, digest, "full", FineTuneConfig())
    assert full != score_file(card, digest, "full", FineTuneConfig(lr=1e-2))
    random = {score_file(card, digest, "random", one) for one in (former, FineTuneConfig())}
    assert len(random) == 2
