"""The signature on every number: enough to compute it again and get the same digits."""

import lightning_dna


def signature(
    *,
    task: str,
    unit: str,
    n_units: int,
    n_seeds: str,
    n_resamples: int,
    interval: str,
    rng_seed: int,
) -> str:
    """Return one line that says how a number was computed.

    Args:
        task: Name of the task.
        unit: What was resampled.
        n_units: Number of units.
        n_seeds: Number of training seeds; ``"3/5"`` if the two arms differ.
        n_resamples: Number of replicates.
        interval: Method, scope and level, such as ``"se-t,procedure,0.95"``.
        rng_seed: Seed of the resampling streams.

    Returns:
        Fields joined by bars; no field contains a bar.

    Example:
        >>> signature(task="promoter", unit="example", n_units=2000, n_seeds="3", n_resamples=9999,
        ...           interval="se-t,procedure,0.95", rng_seed=0)[:52]
        'task:promoter|unit:example|n:2000|seeds:3|resamples:'
    """
    fields = {
        "task": task.replace("|", "/"),
        "unit": unit,
        "n": n_units,
        "seeds": n_seeds,
        "resamples": n_resamples,
        "interval": interval,
        "rng": f"sfc64,{rng_seed}",
        "version": lightning_dna.__version__,
    }
    return "|".join(f"{name}:{value}" for name, value in fields.items())
