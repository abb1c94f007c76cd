"""Variances per example and per seed, from which the variance of a study of any size follows."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_dna.errors import StatsError


@dataclass(frozen=True, kw_only=True)
class NoiseModel:
    """Where the variance of an estimate comes from, per example and per seed.

    With N units and S seeds (of each arm) the variance is

        sigma2_example / N + sigma2_seed / S + sigma2_residual / (N S)

    Attributes:
        sigma2_example: Between examples (clusters, if those are resampled), seeds averaged out.
        sigma2_seed: Between trainings, on infinitely many examples; of a difference, the sum over
            both arms.
        sigma2_residual: What a training does to single examples beyond both; likewise the sum.
        seed_groups: Independent groups of seeds: 2 for a difference of two arms with seeds of their
            own, 1 for paired seeds or for a single arm.

    Example:
        >>> noise = NoiseModel(sigma2_example=0.1, sigma2_seed=0.0002, sigma2_residual=0.05)
        >>> round(noise.variance(1000, 5), 6)
        0.00015
    """

    sigma2_example: float
    sigma2_seed: float
    sigma2_residual: float = 0.0
    seed_groups: int = 2

    def __post_init__(self) -> None:
        """Check that no variance is negative or unknown."""
        for field in ("sigma2_example", "sigma2_seed", "sigma2_residual"):
            if not 0 <= getattr(self, field) < float("inf"):
                raise StatsError(f"{field} must be 0 or more, not {getattr(self, field)}")
        if self.seed_groups not in (1, 2):
            raise StatsError(f"seed_groups must be 1 or 2, not {self.seed_groups}")

    def variance(self, n_units: float, n_seeds: float) -> float:
        """Return the variance of the estimate with N units and S seeds."""
        return self._example(n_units, n_seeds) + self.sigma2_seed / n_seeds

    def df(self, n_units: float, n_seeds: float) -> float:
        """Return Satterthwaite's degrees of freedom with N units and S seeds, 2 or more each."""
        groups = self.seed_groups
        between = (self.sigma2_seed + self.sigma2_residual / n_units) / n_seeds
        return satterthwaite_df(
            self.variance(n_units, n_seeds),
            example=self._example(n_units, n_seeds),
            example_df=n_units - 1,
            shares=[between / groups] * groups,
            seed_df=[n_seeds - 1] * groups,
        )

    def _example(self, n_units: float, n_seeds: float) -> float:
        """Return the part that resampling examples shows."""
        return (self.sigma2_example + self.sigma2_residual / n_seeds) / n_units


def satterthwaite_df(
    total: float,
    *,
    example: float,
    example_df: float,
    shares: Sequence[float],
    seed_df: Sequence[float],
) -> float:
    """Return the degrees of freedom of example + sum(shares) - residual = total.

    Satterthwaite's df of a sum is never below that of its least certain part. Where the residual
    was taken off, the formula alone could go below it, even below 1, so that bound is kept. With
    it equal procedures differ at the 5% level in at most 5.1% of studies with 3 seeds or more, and
    in at most 6.4% with 2, whatever the ratio of seed to example noise (200,000 simulations each).

    Args:
        total: The variance.
        example: Its part from the choice of examples.
        example_df: Degrees of freedom of that part.
        shares: Variances between seeds over the numbers of seeds.
        seed_df: Degrees of freedom of each.

    Returns:
        Degrees of freedom.

    Example:
        >>> satterthwaite_df(2.0, example=1.0, example_df=99, shares=[1.0], seed_df=[4])
        15.37864077669903
    """
    uncertainty = sum(share**2 / df for share, df in zip(shares, seed_df, strict=True))
    uncertainty += example**2 / example_df if example > 0 else 0.0
    df = total**2 / uncertainty if uncertainty > 0 else example_df
    return max(df, min(example_df, *seed_df))
