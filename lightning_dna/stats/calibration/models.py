"""Simulated predictions of two arms: equal arms, or arms whose true difference is known.

All families stand on one latent noise e per arm, training seed and example, of variance 1:

    e = sqrt(rho r) z_i + sqrt((1-rho) r / 3) o_mi + sqrt(2 (1-rho) r / 3) w_msi + sqrt(icc) c_mg

with r = 1 - icc, z shared by both arms (what makes an example hard), o the arm's own view of it, w
new for every training seed, and c an effect of arm m on cluster g: homologous windows are right or
wrong together, and differently in each model. Training seeds add ``seed_sd`` times a normal variate
to the skill of an arm. Then, with skill k,

* ``binary``: score (2y - 1) (k + e), called positive above the threshold at which as many examples
  are called positive as are positive;
* ``multiclass``: three classes, right if e > -k, else another class in proportion to its frequency;
* ``regression``: target t standard normal, prediction k t + sqrt(1 - k^2) sign(t) e;
* ``windows``: bits per base exp(-0.8^2 / 2 + 0.8 e - k), lognormal, and masked bases right with
  probability Phi(0.84 + e / 2 + k).

so that a positive e always makes an arm better, and a cluster effect does not cancel within its
cluster. Both arms have the same skill unless ``effect`` adds to that of the second one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
from scipy import special

from lightning_dna.errors import StatsError
from lightning_dna.stats.alignment import AlignedTask, align
from lightning_dna.stats.plan import Unit
from lightning_dna.stats.predictions import Array, Floats, Integers, Predictions

Family = Literal["binary", "multiclass", "regression", "windows"]

ARMS = ("first", "second")
"""Names of the arms; the first is the baseline, the second has the effect."""

SKILL: Mapping[Family, float] = {
    "binary": 0.75,
    "multiclass": 0.8416,  # right in 80 % of the examples
    "regression": 0.6,
    "windows": 0.0,
}
METRICS_OF: Mapping[Family, tuple[str, ...]] = {
    "binary": ("accuracy", "balanced_accuracy", "f1", "macro_f1", "mcc", "auroc", "auprc"),
    "multiclass": ("accuracy", "balanced_accuracy", "macro_f1", "mcc"),
    "regression": ("pearson", "spearman", "r2", "mse", "mae"),
    "windows": ("bits_per_base", "mlm_accuracy"),
}
TIED: Mapping[Family, tuple[str, ...]] = {
    "binary": ("auroc", "auprc"),
    "regression": METRICS_OF["regression"],
}
"""Metrics that see tied scores; labels do not."""

RATE_SD = 0.8
"""Standard deviation of log bits per base between windows: a heavy tail, skewness 3.7."""
MASKED_SKILL, MASKED_SD = 0.84, 0.5
"""Latent accuracy of masked bases, and how much it varies between windows."""
FEWEST_BASES, MOST_BASES, MASKED_SHARE = 20, 120, 0.15
"""Bases of a window, uniform; share of them that is masked."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """One way to make data sets, and how they are to be judged.

    Attributes:
        family: What is predicted.
        n: Number of examples.
        minority: Frequency of the rarest class (``binary``, ``multiclass``).
        levels: Number of different scores, or ``None`` for scores without ties.
        correlation: Correlation rho of the two arms on one example, cluster effects apart.
        clusters: Number of clusters, 0 for independent examples.
        unequal: Whether cluster sizes are spread like lognormal quantiles instead of equal.
        icc: Share of the noise that a cluster has in common, within an arm.
        n_seeds: Training seeds of each arm.
        seed_sd: Standard deviation of the skill between training seeds.
        effect: What the second arm has more in skill; 0 for equal arms.
        unit: What is resampled.
        scope: ``"checkpoint"`` or ``"procedure"``.

    Raises:
        StatsError: If a value is outside its range.

    Example:
        >>> Design(family="binary", n=300, minority=0.1).key
        'binary n=300 minority=0.1'
    """

    family: Family
    n: int
    minority: float = 0.5
    levels: int | None = None
    correlation: float = 0.7
    clusters: int = 0
    unequal: bool = False
    icc: float = 0.0
    n_seeds: int = 1
    seed_sd: float = 0.0
    effect: float = 0.0
    unit: Unit = "example"
    scope: Literal["checkpoint", "procedure"] = "checkpoint"

    def __post_init__(self) -> None:
        """Check what would otherwise give NaN far from its cause."""
        if self.family not in get_args(Family):
            raise StatsError(f"family {self.family!r}; allowed: {', '.join(get_args(Family))}")
        ranges = {
            "n": self.n >= 2,
            "minority": 0 < self.minority <= 0.5,
            "levels": self.levels is None or self.levels >= 2,
            "correlation": 0 <= self.correlation < 1,
            "clusters": 0 <= self.clusters <= self.n,
            "icc": 0 <= self.icc < 1 and (self.clusters > 0 or self.icc == 0),
            "n_seeds": self.n_seeds >= 1,
            "seed_sd": self.seed_sd >= 0,
            "unit": self.unit == "example" or self.clusters > 0,
        }
        for name, allowed in ranges.items():
            if not allowed:
                raise StatsError(f"null model: {name}={getattr(self, name)} is outside its range")

    @property
    def key(self) -> str:
        """Everything that differs from the defaults, in one line; the key of its streams."""
        parts: list[str] = [self.family]
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value != field.default:
                parts.append(f"{field.name}={value:g}" if not isinstance(value, str) else value)
        return " ".join(parts)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that this design is for."""
        names = METRICS_OF if self.levels is None else TIED
        return names[self.family]

    @property
    def is_control(self) -> bool:
        """Whether the analysis ignores what makes the data dependent, so that it should fail."""
        return (self.icc > 0 and self.unit == "example") or (
            self.seed_sd > 0 and self.scope == "checkpoint"
        )

    def skills(self) -> tuple[float, float]:
        """Return the skill of each arm."""
        return SKILL[self.family], SKILL[self.family] + self.effect

    def draw(self, generator: np.random.Generator) -> AlignedTask:
        """Return one data set.

        Args:
            generator: Source of all its randomness.

        Returns:
            A task with the variants ``ARMS`` and ``n_seeds`` training seeds each.
        """
        return _BUILDERS[self.family](self, generator)


def cluster_sizes(design: Design) -> Integers:
    """Return the number of examples of each cluster, (clusters,), at least 1 each.

    Unequal sizes follow the quantiles of a lognormal law with sigma 1: with 22 clusters the largest
    holds about a quarter of the examples.

    Example:
        >>> cluster_sizes(Design(family="binary", n=10, clusters=4)).tolist()
        [3, 3, 2, 2]
    """
    shares = np.full(design.clusters, 1 / design.clusters)
    if design.unequal:
        quantiles = (np.arange(design.clusters) + 0.5) / design.clusters
        shares = np.exp(special.ndtri(quantiles))[::-1]
        shares = shares / shares.sum()
    free = design.n - design.clusters  # one example of each cluster is fixed
    sizes = 1 + np.floor(free * shares + 1e-9).astype(np.int64)
    sizes[: design.n - sizes.sum()] += 1
    return sizes


def latent_noise(design: Design, generator: np.random.Generator) -> tuple[Floats, Integers | None]:
    """Draw the noise of the module's head.

    Args:
        design: Its correlation, clusters, ICC and number of seeds.
        generator: Source of randomness.

    Returns:
        (2, seeds, n) noise of mean 0 and variance 1, and the (n,) cluster of each example.
    """
    rest, rho = 1 - design.icc, design.correlation
    shape = (2, design.n_seeds, design.n)
    noise = np.sqrt(rho * rest) * generator.standard_normal(design.n)
    noise = noise + np.sqrt((1 - rho) * rest / 3) * generator.standard_normal((2, 1, design.n))
    noise = noise + np.sqrt(2 * (1 - rho) * rest / 3) * generator.standard_normal(shape)
    if not design.clusters:
        return noise, None
    cluster = np.repeat(np.arange(design.clusters), cluster_sizes(design))
    if design.icc > 0:
        effects = generator.standard_normal((2, 1, design.clusters))
        noise = noise + np.sqrt(design.icc) * effects[:, :, cluster]
    return noise, cluster


def seed_skills(design: Design, generator: np.random.Generator) -> Floats:
    """Draw the skill of every arm and training seed, (2, seeds, 1)."""
    spread = design.seed_sd * generator.standard_normal((2, design.n_seeds, 1))
    return np.asarray(design.skills())[:, None, None] + spread


def positive_threshold(skill: float, minority: float) -> float:
    """Return the score above which as many examples lie as there are positive ones.

    Args:
        skill: Mean score of the positive class, minus that of the negative one.
        minority: Frequency of the positive class.

    Returns:
        The threshold, found by bisection to rounding.

    Example:
        >>> positive_threshold(0.75, 0.5)
        0.0
    """
    low, high = -10.0, 10.0
    for _ in range(80):
        middle = (low + high) / 2
        above = minority * special.ndtr(skill - middle)
        above += (1 - minority) * special.ndtr(-skill - middle)
        low, high = (middle, high) if above > minority else (low, middle)
    return 0.0 if minority == 0.5 else (low + high) / 2


def level_edges(levels: int) -> Floats:
    """Return the edges between levels of tied scores: evenly spaced from -2 to 2."""
    return np.linspace(-2, 2, levels - 1)


def class_shares(minority: float) -> Floats:
    """Return the frequencies of the three classes; the last one is the rarest."""
    return np.array([0.55 * (1 - minority), 0.45 * (1 - minority), minority])


def _binary(design: Design, generator: np.random.Generator) -> AlignedTask:
    y_true = (generator.random(design.n) < design.minority).astype(np.int64)
    noise, cluster = latent_noise(design, generator)
    score = (2 * y_true - 1) * (seed_skills(design, generator) + noise)
    cuts = [positive_threshold(skill, design.minority) for skill in design.skills()]
    labels = (score > np.array(cuts)[:, None, None]).astype(np.int64)
    if design.levels is not None:
        score = np.digitize(score, level_edges(design.levels)).astype(np.float64)
    return _task(design, cluster, y_true=y_true, y_pred=labels, y_score=score)


def _multiclass(design: Design, generator: np.random.Generator) -> AlignedTask:
    shares = class_shares(design.minority)
    y_true = np.searchsorted(np.cumsum(shares)[:-1], generator.random(design.n), side="right")
    noise, cluster = latent_noise(design, generator)
    right = noise > -seed_skills(design, generator)
    others = np.array([[1, 2], [0, 2], [0, 1]])[y_true]  # (n, 2)
    first = shares[others[:, 0]] / shares[others].sum(axis=1)
    wrong = np.where(generator.random(design.n) < first, others[:, 0], others[:, 1])
    return _task(design, cluster, y_true=y_true, y_pred=np.where(right, y_true, wrong))


def _regression(design: Design, generator: np.random.Generator) -> AlignedTask:
    target = generator.standard_normal(design.n)
    noise, cluster = latent_noise(design, generator)
    scale = np.sqrt(1 - np.asarray(design.skills()) ** 2)[:, None, None]
    score = seed_skills(design, generator) * target + scale * np.sign(target) * noise
    if design.levels is not None:
        score = level_values(design.levels)[np.digitize(score, level_edges(design.levels))]
    return _task(design, cluster, y_true=target, y_score=score)


def level_values(levels: int) -> Floats:
    """Return the value that stands for each level of a tied prediction of a real number."""
    edges = level_edges(levels)
    step = edges[1] - edges[0] if levels > 2 else 4.0
    return np.concatenate([edges - step / 2, [edges[-1] + step / 2]])


def _windows(design: Design, generator: np.random.Generator) -> AlignedTask:
    bases = generator.integers(FEWEST_BASES, MOST_BASES + 1, design.n).astype(np.float64)
    masked = np.maximum(np.rint(MASKED_SHARE * bases), 1)
    noise, cluster = latent_noise(design, generator)
    skill = seed_skills(design, generator)
    bits = bases * np.exp(RATE_SD * noise - RATE_SD**2 / 2 - skill)
    chance = special.ndtr(MASKED_SKILL + MASKED_SD * noise + skill)
    hits = generator.binomial(masked.astype(np.int64), chance).astype(np.float64)
    return _task(
        design,
        cluster,
        numerator={"bits_per_base": bits, "mlm_accuracy": hits},
        denominator={"bits_per_base": bases, "mlm_accuracy": masked},
    )


_BUILDERS = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _regression,
    "windows": _windows,
}


def _task(
    design: Design,
    cluster: Integers | None,
    *,
    y_true: Array | None = None,
    y_pred: Array | None = None,
    y_score: Array | None = None,
    numerator: Mapping[str, Floats] | None = None,
    denominator: Mapping[str, Floats] | None = None,
) -> AlignedTask:
    """Return the task of (2, seeds, n) predictions."""
    ids = np.arange(design.n)
    return align(
        [
            Predictions(
                task=design.family,
                variant=variant,
                seed=seed,
                example_id=ids,
                y_true=y_true,
                y_pred=None if y_pred is None else y_pred[arm, seed],
                y_score=None if y_score is None else y_score[arm, seed],
                cluster_id=cluster,
                numerator=None
                if numerator is None
                else {name: values[arm, seed] for name, values in numerator.items()},
                denominator=denominator,
            )
            for arm, variant in enumerate(ARMS)
            for seed in range(design.n_seeds)
        ]
    )
