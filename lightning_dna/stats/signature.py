"""The signature on every number: enough to compute it again and get the same digits."""

import hashlib
import json
from collections.abc import Mapping

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
    generator: str = "splitmix64",
    resampling: str = "",
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
        generator: Name of their generator.
        resampling: Law, strata and draws of the resamples where they are not the default, such as
            ``"poisson"``.

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
        "resamples": f"{n_resamples},{resampling}" if resampling else n_resamples,
        "interval": interval,
        "rng": f"splitmix64,{rng_seed}",
        "version": lightning_dna.__version__,
    }
    return "|".join(f"{name}:{value}" for name, value in fields.items())


def plan_hash(declared: Mapping[str, object]) -> str:
    """Return a short hash of what was declared, equal for equal declarations in any order.

    Write it down before the predictions are read: the rows of the table carry it, and any change
    of level, method, family, correction or margin afterwards changes it.

    Args:
        declared: Names and plain values (numbers, text, lists, mappings) of the decisions.

    Returns:
        12 hexadecimal digits.

    Example:
        >>> plan_hash({"level": 0.95, "method": "se-t"}) == plan_hash(
        ...     {"method": "se-t", "level": 0.95})
        True
    """
    text = json.dumps(declared, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
