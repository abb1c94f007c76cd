"""Variance of a metric or of a difference: examples, seeds, or both, with degrees of freedom.

Seeds are readers and examples are cases of a multi-reader multi-case study: every model is trained
on its own seed, all models meet the same test examples. The variance of a difference of seed means:

    V = V_ex + max(sum_m (s_m^2 / S_m - rho_m), 0)

with V_ex the bootstrap variance of the difference of seed means, s_m^2 the variance between the S_m
seeds of arm m, and rho_m = sum_s var*(M_ms - mean_s M_ms) / (S_m (S_m - 1)) the example noise that
s_m^2 / S_m contains. For balanced data and means this is the two-way random-effects analysis of
variance, (MS_example + MS_seed - MS_residual) / (N S) per arm. In units that do not depend on the
size of the study, so that another size can be planned, it is a ``NoiseModel``:

    V = sigma2_example / N + sigma2_seed / S + sigma2_residual / (N S)

References:
    Obuchowski & Rockette 1995; Hillis 2007; Satterthwaite 1946.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.noise_model import NoiseModel, satterthwaite_df
from lightning_dna.stats.predictions import Array, Floats
from lightning_dna.stats.replicates import Replicates


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Replicates of one metric of one variant, with the sign it has in the estimate.

    Attributes:
        values: (resamples, seeds) replicates.
        observed: (seeds,) metrics of the data.
        sign: +1 for the variant, -1 for the baseline.
    """

    values: Floats
    observed: Floats
    sign: int = 1

    @property
    def n_seeds(self) -> int:
        """Number of seeds."""
        return len(self.observed)


@dataclass(frozen=True, kw_only=True)
class VarianceComponents:
    """Contributions to the variance of an estimate; ``total`` is the square of its standard error.

    Attributes:
        example: From the choice of examples, with these seeds averaged.
        seed: From the choice of seeds, example noise removed, never below 0.
        residual: Example noise inside the between-seed variance (the part that was removed).
        df: Satterthwaite degrees of freedom of ``total``.
    """

    example: float
    seed: float
    residual: float
    df: float

    @property
    def total(self) -> float:
        """Variance of the estimate."""
        return self.example + self.seed


@dataclass(frozen=True, kw_only=True)
class DifferenceComponents(VarianceComponents):
    """Components of a difference as they stand, and per example and seed for planning.

    Attributes:
        noise: Of the difference.
        arms: Of each arm alone, by name; its example part contains what both arms find hard, which
            cancels in the difference.
    """

    noise: NoiseModel
    arms: Mapping[str, NoiseModel]


def effective_df(influence: Floats, parts: Sequence[int] | None = None) -> float:
    """Return the degrees of freedom of a variance that is estimated by a sum of squared influences.

    2 (sum u^2)^2 / (sum u^4 - (sum u^2)^2 / n), at most n - 1: about n for Gaussian influences, few
    when a handful of units carry the estimate. Parts that were resampled apart combine by
    Satterthwaite's formula.

    Args:
        influence: (units,) influence values u of the estimate.
        parts: Numbers of units resampled together; one part if ``None``.

    Returns:
        Degrees of freedom; NaN with fewer than two units in a part.

    Example:
        >>> effective_df(np.array([1.0, -1.0, 1.0, -1.0]))  # equal sizes: nothing is lost
        3.0
    """
    sizes = (len(influence),) if parts is None else tuple(parts)
    if min(sizes) < 2:
        return float("nan")
    pieces = np.split(influence, np.cumsum(sizes)[:-1])
    variances = [float((piece**2).sum()) for piece in pieces]
    uncertainty = 0.0
    for piece, variance in zip(pieces, variances, strict=True):
        excess = float(((piece**2) ** 2).sum()) - variance**2 / len(piece)
        effective = 2 * variance**2 / excess if excess > 1e-12 * variance**2 else np.inf
        uncertainty += variance**2 / min(effective, len(piece) - 1)
    total = sum(variances)
    return total**2 / uncertainty if uncertainty > 0 else float(min(sizes) - 1)


def example_variance(arms: Sequence[Arm], correction: float) -> float:
    """Return the variance from the choice of examples with these checkpoints held fixed.

    Args:
        arms: Arms of the estimate.
        correction: n / (n - 1) for n units.

    Returns:
        Bootstrap variance over the defined replicates; NaN if fewer than two are.
    """
    return _variance(combined(arms), correction, magnitude(arms))


def combined(arms: Sequence[Arm]) -> Floats:
    """Return the replicates of the estimate: the signed sum of the seed means, (resamples,)."""
    total = np.zeros(len(arms[0].values))
    for arm in arms:
        total = total + arm.sign * arm.values.mean(axis=1)
    return total


def crossed_variance(
    arms: Sequence[Arm], *, correction: float, example_df: float, paired_seeds: bool = False
) -> VarianceComponents:
    """Return the variance when both seeds and examples are random.

    Args:
        arms: Arms of the estimate, each with two seeds or more.
        correction: n / (n - 1) for n units.
        example_df: Degrees of freedom of the example part.
        paired_seeds: The same seeds mean the same initial weights and data order in all arms, so
            seeds are compared by their differences; arms must have the same number of seeds.

    Returns:
        The components and their Satterthwaite degrees of freedom.

    Raises:
        StatsError: If an arm has one seed, or paired arms differ in their number of seeds.
    """
    if min(arm.n_seeds for arm in arms) < 2:
        raise StatsError("scope='procedure' needs 2 or more seeds of every variant; found 1")
    scale = magnitude(arms)
    if paired_seeds:
        arms = _paired(arms)
    return crossed_components(
        example=_variance(combined(arms), correction, scale),
        example_df=example_df,
        shares=[float(arm.observed.var(ddof=1)) / arm.n_seeds for arm in arms],
        residual=sum(seed_noise(arm, correction) for arm in arms),
        seed_df=[arm.n_seeds - 1 for arm in arms],
    )


def crossed_components(
    *,
    example: float,
    example_df: float,
    shares: Sequence[float],
    residual: float,
    seed_df: Sequence[float],
) -> VarianceComponents:
    """Return the components from their moments, however these were found.

    Args:
        example: Variance from the choice of examples, with these seeds averaged.
        example_df: Its degrees of freedom.
        shares: Variance between seeds over their number, of each arm.
        residual: Example noise that the shares contain.
        seed_df: Degrees of freedom of each share.

    Returns:
        The components and their Satterthwaite degrees of freedom.
    """
    seed = max(sum(shares) - residual, 0.0)
    df = satterthwaite_df(
        example + seed, example=example, example_df=example_df, shares=shares, seed_df=seed_df
    )
    return VarianceComponents(example=example, seed=seed, residual=residual, df=df)


def _paired(arms: Sequence[Arm]) -> list[Arm]:
    """Return one arm of per-seed differences."""
    if len({arm.n_seeds for arm in arms}) > 1:
        raise StatsError("paired_seeds needs the same seeds in both arms")
    return [
        Arm(
            values=np.sum([arm.sign * arm.values for arm in arms], axis=0),
            observed=np.sum([arm.sign * arm.observed for arm in arms], axis=0),
        )
    ]


def seed_noise(arm: Arm, correction: float) -> float:
    """Return the example noise inside the between-seed variance of the mean of one arm.

    Args:
        arm: Replicates of the arm.
        correction: n / (n - 1) for n units.

    Returns:
        rho_m of the module's formula.
    """
    scale = magnitude([arm])
    deviations = arm.values - arm.values.mean(axis=1, keepdims=True)
    noise = sum(_variance(column, correction, scale) for column in deviations.T)
    return noise / (arm.n_seeds * (arm.n_seeds - 1))


def variance_components(
    reps: Replicates,
    variant_a: str,
    variant_b: str,
    *,
    metric: str | None = None,
    paired_seeds: bool = False,
) -> DifferenceComponents:
    """Return the components of the variance of one variant minus another.

    For planning they are also given per example (N times the variance with N units; of a contrast
    of two example sets, at the same proportion of the two) and per seed.

    Args:
        reps: Replicates of one task.
        variant_a: Name of the variant.
        variant_b: Name of the variant that is subtracted.
        metric: Name of the metric; ``None`` where the replicates hold one only.
        paired_seeds: Whether seeds are compared by their differences.

    Returns:
        Example, seed and residual contributions, degrees of freedom, and noise models of the
        difference and of both arms.

    Raises:
        ConfigError: If a name is unknown.
        StatsError: If a variant has one seed, or paired arms have different seeds.
    """
    names = [row.name for row in reps.metrics]
    if metric is None and len(names) > 1:
        raise StatsError(f"variance_components: say which metric; there are {', '.join(names)}")
    one = reps.select([metric or names[0]])
    pair = [one.variant_index(variant_a), one.variant_index(variant_b)]
    if paired_seeds and not np.array_equal(one.present[pair[0]], one.present[pair[1]]):
        raise StatsError(
            f"paired_seeds: '{variant_a}' and '{variant_b}' have different seeds in task "
            f"'{reps.task}'"
        )
    arms = [arm_of(one, position, 0, sign) for position, sign in zip(pair, (1, -1), strict=True)]
    influence = mean_influence(one.influence, one.present, pair, (1, -1), 0)
    correction = one.variance_correction
    found = crossed_variance(
        arms,
        correction=correction,
        example_df=effective_df(influence, one.parts),
        paired_seeds=paired_seeds,
    )
    groups = _paired(arms) if paired_seeds else arms
    return DifferenceComponents(
        **vars(found),
        noise=_noise_model(groups, correction, one.n_units),
        arms={
            name: _noise_model([arm], correction, one.n_units)
            for name, arm in zip((variant_a, variant_b), arms, strict=True)
        },
    )


def _noise_model(arms: Sequence[Arm], correction: float, n_units: int) -> NoiseModel:
    """Return the components per example and per seed; estimates below 0 are 0."""
    scale = magnitude(arms)
    noise = [seed_noise(arm, correction) for arm in arms]
    example = _variance(combined(arms), correction, scale) - sum(noise)
    # Within one arm noise * seeds is the example noise of one seed's metric.
    single = [value * arm.n_seeds for value, arm in zip(noise, arms, strict=True)]
    between = sum(float(arm.observed.var(ddof=1)) for arm in arms) - sum(single)
    return NoiseModel(
        sigma2_example=max(example, 0.0) * n_units,
        sigma2_seed=max(between, 0.0),
        sigma2_residual=sum(single) * n_units,
        seed_groups=len(arms),
    )


def arm_of(reps: Replicates, variant: int, metric: int, sign: int) -> Arm:
    """Return the seeds that a variant has, as an arm."""
    seeds = reps.seed_indices(variant)
    return Arm(
        # Contiguous: the order of summation over seeds must not depend on the other variants.
        values=np.ascontiguousarray(reps.values[:, variant, seeds, metric]),
        observed=reps.observed[variant, seeds, metric],
        sign=sign,
    )


def mean_influence(
    influence: Floats, present: Array, variants: Sequence[int], signs: Sequence[int], metric: int
) -> Floats:
    """Return the influence (units,) of the signed sum of seed means (surplus signs unused)."""
    total = np.zeros(len(influence))
    for variant, sign in zip(variants, signs, strict=False):
        seeds = np.flatnonzero(present[variant])
        total = total + sign * np.ascontiguousarray(influence[:, variant, seeds, metric]).mean(
            axis=1
        )
    return total


def magnitude(arms: Sequence[Arm]) -> float:
    """Return the magnitude of the metric, against which rounding is judged."""
    return max(float(np.abs(arm.observed).max()) for arm in arms)


def _variance(values: Floats, correction: float, scale: float) -> float:
    """Return the corrected variance of defined replicates; 0 if they differ by rounding only."""
    defined = values[np.isfinite(values)]
    if len(defined) < 2:
        return float("nan")
    spread = float(defined.var(ddof=1))
    return 0.0 if spread <= (1e-13 * scale) ** 2 else spread * correction
