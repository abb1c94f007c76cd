"""Variant effects as a task of a study: tables, baselines, identity, and what is refused."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import LanguageModel, build_model
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.kinds import open_task
from lightning_dna.tasks.task import Candidate
from lightning_dna.tasks.variant_scores import score_variants
from lightning_dna.tasks.variant_source import VariantSource
from lightning_dna.tokenizers.kmer import KmerTokenizer
from lightning_dna.training.config import FineTuneConfig

CONFIG = ModelConfig(mixer="hyena", width=8, layers=1, max_length=32)
SEQUENCE = "".join("ACGT"[code] for code in np.random.default_rng(1).integers(0, 4, 120))


class FixedWeights:
    def model(self) -> LanguageModel:
        return build_model(CONFIG, seed=1).eval()

    def untrained(self) -> LanguageModel:
        return build_model(CONFIG, seed=2).eval()


@dataclass(frozen=True)
class Around:
    """A study with a genome of its own."""

    tasks_root: Path
    window_length: int = 24

    @property
    def genome(self) -> Genome:
        return Genome.from_sequences({"chr1": SEQUENCE})


@pytest.fixture
def folder(tmp_path) -> Path:
    lines = ["chrom,position,ref,alt,label,phylop,group"]
    for number, start in enumerate(range(5, 115, 10)):
        ref = SEQUENCE[start]
        alt = "ACGT"["ACGT".index(ref) - 1]
        lines.append(f"1,{start + 1},{ref},{alt},{number % 2},{number},{number // 3}")
    (tmp_path / "v.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def card(**changes) -> TaskCard:
    base = TaskCard(
        name="effects",
        kind="variant_effect",
        title="Effects",
        files={"variants": "v.csv"},
        unit="cluster",
        baselines=("conservation", "gc_content"),
        scores=("llr", "embedding_l2"),
        variants=VariantSource(columns={"conservation": "phylop", "cluster": "group"}),
    )
    return replace(base, **changes)


def candidate(**changes) -> Candidate:
    base = Candidate(
        arm="a", seed=4, weights=FixedWeights(), finetune=FineTuneConfig(), encoding=CHARACTERS
    )
    return replace(base, **changes)


def test_tables(folder):
    task = open_task(card(), Around(folder))
    task.load()
    assert task.card.tables == ("llr", "embedding_l2")
    direct = score_variants(
        task.data.variants,
        FixedWeights().model(),
        CHARACTERS,
        length=24,
        scores=["llr", "embedding_l2"],
    )
    for table, sign in (("llr", -1), ("embedding_l2", 1)):
        scores, record = task.score(candidate(), table)
        assert (scores.kind, record) == ("ranking", None)
        frame = scores.frame
        assert set(zip(frame["task"], frame["variant"], frame["seed"], strict=True)) == {
            (f"effects/{table}", "a", 4)
        }
        np.testing.assert_allclose(frame["score"], sign * direct[table], rtol=1e-5)
        assert frame["label"].tolist() == [number % 2 for number in range(11)]
        assert frame["cluster_id"].tolist() == [str(number // 3) for number in range(11)]


def test_sizes_of_ratios_keep_their_sign(folder):
    names = ("abs_llr", "llr", "untrained_abs_llr")
    task = open_task(card(scores=names), Around(folder))
    task.load()
    sizes, signed, control = (task.score(candidate(), name)[0].frame["score"] for name in names)
    np.testing.assert_allclose(sizes, abs(signed), rtol=1e-6)
    assert (signed > 0).any()
    assert (signed < 0).any()
    assert abs(sizes - control).max() > 1e-3
    given = task.data.variants
    both = score_variants(
        given, FixedWeights().model(), CHARACTERS, length=24, scores=["abs_llr", "embedding_l2"]
    )
    parts = ("", "_forward", "_reverse")
    assert [*both] == [f"{name}{part}" for part in parts for name in ("abs_llr", "embedding_l2")]
    # The size of the mean over the strands, not the mean of their sizes.
    apart = (both["abs_llr_forward"] + both["abs_llr_reverse"]) / 2
    assert (both["abs_llr"] < apart - 1e-6).any()


def test_controls_are_the_same_scores_of_the_initial_weights(folder):
    task = open_task(
        card(scores=("llr", "untrained_llr", "untrained_embedding_l2")), Around(folder)
    )
    task.check_checkpoint("a", CONFIG, CHARACTERS)
    for table, name, sign in (
        ("untrained_llr", "llr", -1),
        ("untrained_embedding_l2", "embedding_l2", 1),
    ):
        direct = score_variants(
            task.data.variants, FixedWeights().untrained(), CHARACTERS, length=24, scores=[name]
        )
        scores, _ = task.score(candidate(), table)
        assert set(scores.frame["task"]) == {f"effects/{table}"}
        np.testing.assert_allclose(scores.frame["score"], sign * direct[name], rtol=1e-5)
    kmers = Encoding(tokenizer=KmerTokenizer(3, overlapping=True))
    only_control = open_task(card(scores=("untrained_llr",)), Around(folder))
    with pytest.raises(ConfigError, match="overlapping 3-mers hide every base several times"):
        only_control.check_checkpoint("a", replace(CONFIG, vocab_size=96), kmers)


def test_an_arm_over_longer_tokens_is_scored_as_far_as_its_tokens_allow(folder):
    class Rows(FixedWeights):
        def model(self) -> LanguageModel:
            return build_model(replace(CONFIG, vocab_size=96), seed=1).eval()

    side_by_side = Encoding(tokenizer=KmerTokenizer(2))
    task = open_task(card(), Around(folder))
    task.check_checkpoint("a", replace(CONFIG, vocab_size=96), side_by_side)
    for table in task.card.tables:
        scores, _ = task.score(candidate(weights=Rows(), encoding=side_by_side), table)
        assert (scores.frame["score"] != 0).all()
    # Overlapping k-mers hide every base several times; their states are states all the same.
    overlapping = Encoding(tokenizer=KmerTokenizer(3, overlapping=True))
    with pytest.raises(ConfigError, match="overlapping 3-mers hide every base several times"):
        task.check_checkpoint("a", replace(CONFIG, vocab_size=96), overlapping)
    states = open_task(card(scores=("embedding_l2",)), Around(folder))
    states.check_checkpoint("a", replace(CONFIG, vocab_size=96), overlapping)
    scores, _ = states.score(candidate(weights=Rows(), encoding=overlapping), "embedding_l2")
    assert (scores.frame["score"] > 0).all()


def test_baselines(folder):
    task = open_task(card(), Around(folder))
    scores, record = task.score_baseline("conservation", seed=0)
    assert scores.frame["score"].tolist() == [float(number) for number in range(11)]
    assert set(scores.frame["task"]) == {"effects"}
    assert record == {}


def test_identity_follows_what_decides_the_scores(folder):
    def content(**changes) -> dict:
        length = changes.pop("length", 24)
        return dict(open_task(card(**changes), Around(folder, length)).content())

    same = content()
    assert content(title="Other words", scores=("llr",)) == same
    assert content(length=20) != same
    assert content(unit="example") != same
    lines = (folder / "v.csv").read_text().splitlines()
    (folder / "v.csv").write_text("\n".join(lines[:-1]) + "\n")
    assert content() != same


def test_what_does_not_fit_is_refused_before_anything_runs(folder):
    task = open_task(card(window_length=40), Around(folder))
    with pytest.raises(ConfigError, match=r"windows of 40 bases, but arm 'a' has model.max_length"):
        task.check_arm("a", CONFIG)
    task.check_arm("a", replace(CONFIG, max_length=40))
    task = open_task(card(scores=("unmasked_llr",)), Around(folder))
    with pytest.raises(ConfigError, match="unmasked_llr is of masked models"):
        task.check_arm("a", replace(CONFIG, objective="next_token"))
    kmers = Encoding(tokenizer=KmerTokenizer(3), special=True)
    with pytest.raises(ConfigError, match="unmasked_llr is of masked models over single bases"):
        task.check_checkpoint("a", CONFIG, kmers)
    task = open_task(card(scores=("llr",), window_length=100), Around(folder))
    with pytest.raises(DataError, match="has 35 tokens with the special ones around it"):
        task.check_checkpoint("a", replace(CONFIG, max_length=30), kmers)
    wrong = open_task(card(files={"variants": "w.csv"}), Around(folder))
    with pytest.raises(DataError, match=r"missing files: variants: w.csv"):
        wrong.load()
    wrong = open_task(card(sha256={"variants": "0" * 64}), Around(folder))
    with pytest.raises(DataError, match="the task card expects 0000"):
        wrong.load()
