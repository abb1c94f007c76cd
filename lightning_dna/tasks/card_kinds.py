"""What a card of each kind may say: its own fields, its metrics, its baselines, its tables.

The other half of a kind, what its data are and how a model is scored, is a row of
:mod:`lightning_dna.tasks.kinds`, which loads torch; this half does not, so that the command line
lists and checks cards in an instant.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lightning_dna.stats.metrics import LABEL_METRICS, METRICS

TaskKind = Literal[
    "heldout_mlm",
    "classification",
    "simulated_classification",
    "variant_effect",
    "multilabel",
    "per_position",
    "species",
    "membership",
    "alleles",
    "canaries",
]

MAX_MARKOV_ORDER = 5
HELDOUT_METRICS = ("mlm_accuracy", "bits_per_base", "cross_entropy")
CLASSIFICATION_METRICS = tuple(name for name, row in METRICS.items() if row.kind == "cells")
HELDOUT_BASELINES = (
    "majority",
    *(f"markov_{order}" for order in range(1, MAX_MARKOV_ORDER + 1)),
    "context_mixture",
    "copy_oracle",
)
# Networks: trained from random initial weights, so that every seed has its own.
TRAINED_BASELINES = ("onehot_cnn", "gb_cnn", "gb_cnn_fixed", "convnova_like", "enformer_like")
CLASSIFICATION_BASELINES = ("majority", "gc_content", "kmer_logistic", *TRAINED_BASELINES)

COUNTING_BASELINES = (
    "majority",
    *(f"markov_{order}" for order in range(1, MAX_MARKOV_ORDER + 1)),
)
VARIANT_BASELINES = (
    *("gc_content", "composition", "exon_edge", "transversion", "conservation", "cadd"),
)


@dataclass(frozen=True, kw_only=True)
class CardKind:
    """What a card of one kind may say.

    Attributes:
        fields: Fields of the card that belong to this kind; those of other kinds must be left out.
        metrics: Metrics that its scores allow.
        default_metrics: Metrics of a card that names none.
        baselines: Baselines that can be scored beside the arms.
        tables: Field of the card that lists the score tables of one arm, such as ``ways``: each
            entry is a table and a row of the report, named ``CARD/ENTRY``. ``None``: one table,
            named like the card.
        tuned: Whether an arm's ``finetune`` settings decide its scores.
        by_window: Whether the scores are sums over windows of the genome, with its parts and
            strata as views.
        neutral: Whether a larger value is neither better nor worse, as of all that measures
            memory: reports then say larger and smaller.
    """

    fields: frozenset[str]
    metrics: tuple[str, ...]
    default_metrics: tuple[str, ...]
    baselines: tuple[str, ...]
    tables: str | None
    tuned: bool
    by_window: bool = False
    neutral: bool = False


CARD_KINDS: Mapping[TaskKind, CardKind] = {
    "heldout_mlm": CardKind(
        fields=frozenset(
            {
                "window_length",
                "mask_fraction",
                "mask_seed",
                "max_windows",
                "cluster_length",
                "train_windows",
                "matched_gap",
                "similarity",
                "repeat_divergence",
            }
        ),
        metrics=HELDOUT_METRICS,
        default_metrics=("mlm_accuracy", "bits_per_base"),
        baselines=HELDOUT_BASELINES,
        tables=None,
        tuned=False,
        by_window=True,
    ),
    "classification": CardKind(
        fields=frozenset(
            {"ways", "files", "layout", "reference", "folds", "split"}
            | {"carve", "labels", "max_train", "sequence_length"}
        ),
        metrics=CLASSIFICATION_METRICS,
        default_metrics=("mcc", "accuracy"),
        baselines=CLASSIFICATION_BASELINES,
        tables="ways",
        tuned=True,
    ),
    "species": CardKind(
        fields=frozenset({"ways", "files", "species"}),
        metrics=CLASSIFICATION_METRICS,
        default_metrics=("mcc", "accuracy"),
        baselines=CLASSIFICATION_BASELINES,
        tables="ways",
        tuned=True,
    ),
    "simulated_classification": CardKind(
        fields=frozenset({"ways", "simulated", "n_train", "n_valid", "n_test", "length", "seed"}),
        metrics=CLASSIFICATION_METRICS,
        default_metrics=("mcc", "accuracy"),
        baselines=CLASSIFICATION_BASELINES,
        tables="ways",
        tuned=True,
    ),
    "variant_effect": CardKind(
        fields=frozenset({"files", "window_length", "variants", "scores"}),
        metrics=("auroc", "auprc"),
        default_metrics=("auroc", "auprc"),
        baselines=VARIANT_BASELINES,
        tables="scores",
        tuned=False,
    ),
    "membership": CardKind(
        fields=frozenset(
            {"window_length", "mask_fraction", "mask_seed", "max_windows", "cluster_length"}
            | {"attacks", "control", "neighbours", "mutation_rate"}
        ),
        metrics=("auroc", "tpr_at_fpr01"),
        default_metrics=("auroc", "tpr_at_fpr01"),
        baselines=COUNTING_BASELINES,
        tables="attacks",
        tuned=False,
        neutral=True,
    ),
    "alleles": CardKind(
        fields=frozenset(
            {"window_length", "max_windows", "cluster_length", "train_windows", "files"}
            | {"site_windows"}
        ),
        metrics=HELDOUT_METRICS,
        default_metrics=("mlm_accuracy", "bits_per_base"),
        baselines=COUNTING_BASELINES,
        tables=None,
        tuned=False,
        by_window=True,
        neutral=True,
    ),
    "canaries": CardKind(
        fields=frozenset({"mask_fraction", "reading"}),
        metrics=("exposure",),
        default_metrics=("exposure",),
        baselines=COUNTING_BASELINES,
        tables=None,
        tuned=False,
        neutral=True,
    ),
    "multilabel": CardKind(
        fields=frozenset({"ways", "files", "regions", "max_train"}),
        metrics=tuple(LABEL_METRICS),
        default_metrics=("mean_auroc", "mean_auprc"),
        baselines=("majority", "kmer_logistic", "onehot_cnn"),
        tables="ways",
        tuned=True,
    ),
    "per_position": CardKind(
        fields=frozenset({"ways", "files", "regions", "max_train"}),
        metrics=(*CLASSIFICATION_METRICS, "auroc", "auprc"),
        default_metrics=("mcc",),
        baselines=("majority", "onehot_cnn"),
        tables="ways",
        tuned=True,
    ),
}
