"""Which of the searched settings made the difference between the trials of an arm."""

import warnings
from typing import Any

import optuna
import pandas as pd

from lightning_dna.study.tune import Search

VALUE = "valid_bits_per_base"
_FEWEST = 4  # finished trials


def importance(search: Search) -> pd.DataFrame:
    """Return the share of the variance between an arm's trials that each setting explains.

    Functional ANOVA on a forest fitted to the finished trials (Hutter et al., ICML 2014), as Optuna
    has it. With fewer than four finished trials, or one setting, there is nothing to share out.

    Returns:
        Columns ``arm, setting, importance``; no row for an arm without enough.
    """
    rows: list[dict[str, Any]] = []
    for arm in search.best:
        mine = search.trials[(search.trials["arm"] == arm) & (search.trials["state"] == "complete")]
        if len(mine) < _FEWEST or len(search.space) < 2:
            continue
        study = optuna.create_study()
        for _, row in mine.iterrows():
            study.add_trial(_as_trial(row, search))
        if mine[VALUE].nunique() == 1:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna says which of its evaluators is newer
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        rows += [{"arm": arm, "setting": key, "importance": found[key]} for key in search.space]
    return pd.DataFrame(rows, columns=["arm", "setting", "importance"])


def _as_trial(row: "pd.Series[Any]", search: Search) -> Any:
    """Return a row as a trial that Optuna can look at, over the values that were tried."""
    params: dict[str, Any] = {}
    ranges: dict[str, Any] = {}
    for key in search.space:
        tried = search.trials[key]
        if pd.api.types.is_numeric_dtype(tried) and tried.min() < tried.max():
            log = bool(tried.min() > 0 and tried.max() / tried.min() > 10)
            ranges[key] = optuna.distributions.FloatDistribution(
                float(tried.min()), float(tried.max()), log=log
            )
            params[key] = float(row[key])
        else:
            ranges[key] = optuna.distributions.CategoricalDistribution(
                sorted({str(value) for value in tried})
            )
            params[key] = str(row[key])
    return optuna.trial.create_trial(params=params, distributions=ranges, value=float(row[VALUE]))
