"""A model that was never trained cannot have memorized: its gap is 0 within its interval."""

import numpy as np
import pytest
from scipy import stats

from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.stats.alignment import align
from lightning_dna.stats.bootstrap import bootstrap_metrics
from lightning_dna.stats.comparison import estimates
from lightning_dna.stats.plan import ResamplingPlan
from lightning_dna.stats.replicates import subtract
from lightning_dna.study.views import mlm_views
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.heldout_mlm import HeldoutMLM

TRIALS = 40
CARD = TaskCard(name="bases", kind="heldout_mlm", title="x", cluster_length=256)
METRICS = ["mlm_accuracy", "bits_per_base"]


def gap_of(seed: int, mixer: str) -> dict[str, tuple[float, float]]:
    """Score fresh weights on a fresh random genome; the interval of the gap of each metric."""
    rng = np.random.default_rng(seed)
    letters = {f"chr{n}": "".join(rng.choice([*"ACGT"], size=6400)) for n in (1, 2)}
    split = ChromosomeSplit(train=("chr1",), valid=(), test=("chr2",))
    config = ModelConfig(width=16, layers=1, heads=2, max_length=64, mixer=mixer, initial_std=0.5)
    scores = HeldoutMLM(CARD, Genome.from_sequences(letters), split, 64).score(
        build_model(config, seed=seed), variant="untrained", seed=0
    )
    views = mlm_views(scores.frame)
    plan = ResamplingPlan(n_resamples=199, unit="cluster", seed=seed)
    train, test = (
        bootstrap_metrics(align(views[name]), METRICS, plan) for name in ("bases/train", "bases")
    )
    table = estimates({"gap": subtract(train, test, task="gap")}, scope="checkpoint").to_frame()
    return {row["metric"]: (row["low"], row["high"]) for _, row in table.iterrows()}


@pytest.mark.parametrize("mixer", ["attention", "hyena"])
def test_the_gap_of_an_untrained_model_is_zero_within_its_interval(mixer):
    found = [gap_of(seed, mixer) for seed in range(TRIALS)]
    for metric in METRICS:
        covered = sum(low <= 0.0 <= high for low, high in (one[metric] for one in found))
        # What 95 % intervals do at least in all but one of ten thousand runs of this test.
        least = stats.binom.ppf(1e-4, TRIALS, 0.95)
        assert covered >= least, f"{metric}: {covered} of {TRIALS}"
        assert all(high - low > 0 for low, high in (one[metric] for one in found))
