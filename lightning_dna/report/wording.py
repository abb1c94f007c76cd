"""The sentences of the report: what a task is called, what was found, what a flag means."""

import math
from collections.abc import Sequence

from lightning_dna.report.numbers import Display, display, listing
from lightning_dna.report.results import Results, is_annotated
from lightning_dna.report.rows import Difference
from lightning_dna.tasks.similarity_bins import similarity_names, similarity_title
from lightning_dna.tasks.strata import CLASS_PREFIX, DIVERGENCE_PREFIX, FREQUENCY_PREFIX

# Arms spelled out in one sentence before the rest is only counted.
_SPELLED_OUT = 4

_PLAIN = {
    "heldout_mlm": "held-out chromosomes",
    "membership": "membership inference",
    "alleles": "preference for the reference allele",
    "heldout_memory": "held-out windows",
    "membership-control": "membership control",
    "membership-control-chromosomes": "membership control by chromosomes",
    "canaries-in-place": "canaries, read in place",
}
_ALLELE_METRICS = {  # the letters are two, and which one is right is the reference's word
    "mlm_accuracy": "Reference allele preferred",
    "bits_per_base": "Bits of the reference allele",
}
_CANARIES = {"canaries": "Canaries", "canaries-in-place": "Canaries, read in place,"}
_TIMES = {"0": "nowhere", "1": "once"}
_LAST_PART = {
    "repeat": "inside repeats",
    "unique": "outside repeats",
    "train": "training chromosomes",
    "gap": "training minus held-out chromosomes",
    "matched_gap": "training minus held-out chromosomes at equal composition",
    "frozen": "linear probe, frozen weights",
    "full": "fine-tuned",
    "scratch": "trained from scratch",
    "random": "linear probe, untrained weights",
    "frozen_cnn": "small CNN on frozen weights",
    "lora": "LoRA",
    "ia3": "IA3",
    "soft_prompt": "soft prompt",
    "loss": "by loss",
    "neighbours": "by loss against mutated copies",
    "llr": "log-likelihood ratio",
    "abs_llr": "size of the log-likelihood ratio",
    "unmasked_llr": "log-likelihood ratio, base visible",
    "embedding_cosine": "cosine distance of embeddings",
    "embedding_l2": "Euclidean distance of embeddings",
    "embedding_cosine_mean": "cosine distance of window embeddings",
    "embedding_l2_mean": "Euclidean distance of window embeddings",
    "untrained_llr": "log-likelihood ratio, untrained weights",
    "untrained_abs_llr": "size of the log-likelihood ratio, untrained weights",
    "untrained_embedding_cosine": "cosine distance of embeddings, untrained weights",
    "untrained_embedding_l2": "Euclidean distance of embeddings, untrained weights",
    "intergenic": "between genes",
    "intron": "introns",
    "promoter": "promoters",
    "noncoding_exon": "exons of transcripts without a CDS",
    "utr3": "3' untranslated regions",
    "utr5": "5' untranslated regions",
    "cds_ambiguous": "coding sequence in several frames",
    "codon_1": "first codon positions",
    "codon_2": "second codon positions",
    "codon_3": "third codon positions",
    **{name: similarity_title(name) for name in similarity_names()},
}

_UNITS = {"example": "single examples", "cluster": "clusters of neighbouring or related examples"}

_FLAGS = {
    "few_seeds": "fewer than three seeds: the spread between trainings is poorly known, and the"
    " interval is wide for that reason",
    "uneven_seeds": "one arm with three seeds or fewer carries nearly all of the seed variance; its"
    " interval may be too short: train more seeds",
    "few_clusters": "fewer than ten effective clusters of examples: the interval is a rough one",
    "too_few_clusters": "fewer than four effective clusters of examples: no interval is given",
    "too_few_units": "fewer than two independent units: no interval is given",
    "few_minority": "fewer than ten examples of the rarest class: the interval is a rough one",
    "few_tasks": "fewer than six tasks stand for all tasks like them: the interval is a rough one",
    "single_class": "only one class among the true labels",
    "constant_target": "all true values are equal, so the metric is not defined",
    "constant_scores": "all scores of a model are equal, so there is nothing to rank",
    "bca_fallback": "all resamples lie on one side of the estimate, where BCa limits are not"
    " defined; percentile limits stand in",
    "studentized_undefined": "more than 1% of the resamples have no standard error of their own",
    "undefined": "the metric is not defined on these examples",
    "undefined_replicates": "the metric was undefined in more than 1% of the resamples",
    "too_many_undefined": "the metric was undefined in more than 10% of the resamples: no interval"
    " is given",
    "identical": "the two arms agree on every unit, so they are equivalent without a test",
    "zero_variance": "the estimate is the same in every resample; p is from an exchange test",
    "se_mismatch": "the standard errors from resampling and from influence values differ by more"
    " than a fifth: look for a few examples or clusters, large weights or a rare class that decide"
    " the result, and for scores that are nearly all tied",
    "significant_within_margin": "the difference is certain, and smaller than the declared margin",
}

_NOT_TESTED = {
    "single_class": "one class only",
    "constant_target": "true values all equal",
    "constant_scores": "scores all equal",
    "too_few_units": "fewer than two units",
    "too_few_clusters": "fewer than four effective clusters",
    "too_many_undefined": "undefined in too many resamples",
    "undefined": "metric not defined",
}


def way_title(way: str) -> str:
    """Return what a way of using a model, or a score of variants, is called within a sentence.

    Example:
        >>> way_title("full"), way_title("frozen")
        ('fine-tuned', 'linear probe, frozen weights')
    """
    return _LAST_PART.get(way, way)


def task_title(task: str) -> str:
    """Return a task's name in words.

    Example:
        >>> task_title("heldout_mlm/repeat"), task_title("promoter/frozen")
        ('Held-out chromosomes, inside repeats', 'Promoter, linear probe, frozen weights')
        >>> task_title("heldout_mlm/yeast"), task_title("gue-tf-0")
        ('Held-out chromosomes of yeast', 'gue-tf-0')
    """
    head, _, last = task.rpartition("/")
    if head.rpartition("/")[2] in _LAST_PART and last not in _LAST_PART:  # a group of labels
        return f"{task_title(head)}, {last}"
    if head == "heldout_mlm" and not (last in _LAST_PART or is_annotated(task)):
        return f"Held-out chromosomes of {last}"  # one genome of several
    if not head or not (last in _LAST_PART or is_annotated(task)):
        card, _, group = task.rpartition("/x")
        if card in _CANARIES and group.isdigit():
            return f"{_CANARIES[card]} planted {_TIMES.get(group, f'{group} times')}"
        if "-" in task and task not in _PLAIN:  # the name of a card, as `show` knows it
            return task
        plain = _PLAIN.get(task, task.replace("_", " "))
        return plain[:1].upper() + plain[1:]
    if head == "heldout_mlm" and last in {"train", "gap", "matched_gap"}:
        return _LAST_PART[last].capitalize()
    return f"{task_title(head)}, {_LAST_PART.get(last) or _annotated_part(last)}"


def metric_title(task: str, metric: str) -> str:
    """Return a metric's name in words, as it is meant on one task.

    Example:
        >>> metric_title("alleles/gap", "mlm_accuracy"), metric_title("x", "mlm_accuracy")
        ('Reference allele preferred', 'Masked-base accuracy')
    """
    known = _ALLELE_METRICS if task.partition("/")[0] == "alleles" else {}
    return known.get(metric) or display(metric).title


def _annotated_part(part: str) -> str:
    """Return a bin of GC, of divergence or of frequency, or a class of repeats, in words."""
    if part.startswith(CLASS_PREFIX):
        return f"repeats of class {part.removeprefix(CLASS_PREFIX)}"
    low, high = part.split("_")[1:]
    if part.startswith(DIVERGENCE_PREFIX):
        return f"repeats with {low} to {high} % of substitutions"
    if part.startswith(FREQUENCY_PREFIX):
        return f"other allele in {low} to {high} % of the chromosomes"
    return f"windows with {low} to {high} % G and C"


def flag_meaning(flag: str) -> str:
    """Return what a flag means; an unknown one is shown by its name alone."""
    return _FLAGS.get(flag, "")


def reason_untested(flags: Sequence[str]) -> str:
    """Return in a few words why a row has no test.

    Example:
        >>> reason_untested(["single_class", "undefined"]), reason_untested([])
        ('one class only', 'no standard error')
    """
    return next((why for flag, why in _NOT_TESTED.items() if flag in flags), "no standard error")


def verdict_label(row: Difference) -> str:
    """Return the verdict as a word; a gap is larger or smaller, not better or worse.

    A row without a test decides nothing, and is not called inconclusive.
    """
    if math.isnan(row.p):
        return "not tested"
    if row.neutral and row.verdict in {"better", "worse"}:
        return "larger" if row.delta > 0 else "smaller"
    return row.verdict


def place(task: str, metric: str) -> str:
    """Name a task and metric at the head of a sentence.

    Example:
        >>> place("heldout_mlm", "bits_per_base")
        'Held-out chromosomes, bits per base'
    """
    return f"{task_title(task)}, {metric_title(task, metric).lower()}"


def verdict_sentence(results: Results, task: str, metric: str) -> str:
    """Say in one sentence what the comparisons of one task and metric show.

    Only trained arms are counted; simple baselines have :func:`reference_sentence`.

    Returns:
        Plain text, for example ``"no arm is shown to be better than attention_alibi; hyena is
        worse than attention_alibi by 0.82 points [0.33, 1.31]."``; :func:`place` goes before it.
    """
    shown = display(metric)
    base = results.study.baseline
    rows = [row for arm in results.models[1:] if (row := results.difference(arm, task, metric))]
    if not rows:
        return f"no comparison with {base} could be made."
    groups = {
        verdict: [row for row in rows if verdict_label(row) == verdict]
        for verdict in (
            "better",
            "larger",
            "worse",
            "smaller",
            "equivalent",
            "inconclusive",
            "not tested",
        )
    }
    parts = []
    for verdict in ("better", "larger", "worse", "smaller"):
        if groups[verdict]:
            parts.append(_differing(groups[verdict], verdict, base, shown))
        elif verdict == "better" and not results.study.is_neutral(task):
            parts.append(f"no arm is shown to be better than {base}")
    if groups["equivalent"]:
        parts.append(_equivalent(groups["equivalent"], results.study.margin(metric), base, shown))
    if groups["inconclusive"]:
        parts.append(_inconclusive(groups["inconclusive"], len(rows), shown))
    if groups["not tested"]:
        names = listing([row.variant for row in groups["not tested"]])
        parts.append(f"{names} {'is' if len(groups['not tested']) == 1 else 'are'} not tested")
    return f"{'; '.join(parts)}."


def _differing(rows: Sequence[Difference], verdict: str, base: str, shown: Display) -> str:
    """Say which arms are better or worse, the largest difference first."""
    rows = sorted(rows, key=lambda row: (-abs(row.delta), row.variant))
    told = [f"{row.variant} by {effect_size(row, shown)}" for row in rows[:_SPELLED_OUT]]
    if len(rows) > _SPELLED_OUT:
        told.append(f"{len(rows) - _SPELLED_OUT} more arms")
    if len(rows) == 1:
        return f"{rows[0].variant} is {verdict} than {base} by {effect_size(rows[0], shown)}"
    return f"{verdict} than {base} are {listing(told)}"


def effect_size(row: Difference, shown: Display) -> str:
    """Write the size of a difference and its interval, both turned to be positive."""
    if row.delta < 0:
        size, low, high = -row.delta, -row.high, -row.low
    else:
        size, low, high = row.delta, row.low, row.high
    return f"{shown.difference_with_unit(size)} {shown.interval(low, high)}"


def _equivalent(rows: Sequence[Difference], margin: float | None, base: str, shown: Display) -> str:
    """Say which arms are equivalent to the baseline, and within what."""
    names = listing([row.variant for row in rows])
    within = "" if margin is None else f" within ±{shown.difference_with_unit(margin)}"
    return f"{names} {'is' if len(rows) == 1 else 'are'} equivalent to {base}{within}"


def _inconclusive(rows: Sequence[Difference], total: int, shown: Display) -> str:
    """Say how many comparisons decide nothing, and what they could have detected."""
    sizes = [row.mde80 for row in rows if math.isfinite(row.mde80)]
    if len(rows) == 1:
        start, could = f"the comparison with {rows[0].variant} is inconclusive", "it"
    else:
        start = f"{'all ' if len(rows) == total else ''}{len(rows)} comparisons are inconclusive"
        could = "they"
    if not sizes:
        return start
    low, high = shown.number(min(sizes)), shown.number(max(sizes))
    amount = high if low == high else f"{low} to {high}"
    reach = f"{amount} {shown.difference_unit}".strip()
    return f"{start} ({could} could have detected {reach} with 80 % power)"


def reference_sentence(results: Results, task: str, metric: str) -> str:
    """Say where the best simple baseline stands; empty when there is none or no direction."""
    shown = display(metric)
    rows = [row for name in results.references if (row := results.estimate(name, task, metric))]
    rows = [row for row in rows if not math.isnan(row.estimate)]
    arms = [row for name in results.models if (row := results.estimate(name, task, metric))]
    if not rows or not arms or shown.greater_is_better is None:
        return ""
    sign = 1 if shown.greater_is_better else -1
    best = max(rows, key=lambda row: sign * row.estimate)
    ahead = sum(sign * row.estimate > sign * best.estimate for row in arms)
    return (
        f"The best simple baseline, {best.variant}, reaches {shown.with_unit(best.estimate)}"
        f" {shown.interval(best.low, best.high)}; {ahead} of {len(arms)} arms have a better point"
        " estimate."
    )


def how_to_read(results: Results) -> list[str]:
    """Explain unit, scope, interval, multiplicity and detectable difference in short paragraphs."""
    study = results.study
    level = f"{study.level:.0%}"
    sizes = sorted({row.n_units for row in results.estimates})
    count = f" ({sizes[0]} to {sizes[-1]} of them per task)" if len(sizes) > 1 else ""
    kinds = dict.fromkeys(row.unit for row in results.estimates)
    unit = " or ".join(_UNITS.get(kind, kind) for kind in kinds) or "single examples"
    scope = (
        "Scope is the training procedure: seeds are treated as random, so an interval speaks about"
        " training this arm again with new seeds."
        if study.scope == "procedure"
        else "Scope is these checkpoints: an interval speaks about these trained weights on new"
        " examples, and not about training them again."
    )
    return [
        f"Every arm is scored on the same examples, and differences are paired: the same resamples"
        f" are used for all arms, seeds and metrics of a task. The resampled units are"
        f" {unit}{count}. {scope} Brackets are {level} intervals.",
        f"A difference is an arm minus {study.baseline}. Its interval is that of this one"
        f" comparison; the verdict follows the p-value adjusted for all comparisons of its family,"
        f" so an interval can leave out zero while the verdict is inconclusive. Planned"
        " rows were declared before anything ran; exploratory rows suggest, they do not confirm.",
        "Better and worse take the direction of the metric into account. Equivalent means that the"
        " interval lies inside a margin declared beforehand. Inconclusive is not “no difference”:"
        " the detectable difference beside it is the true difference that this comparison would"
        " have found with 80 % power. Pointing at a number shows its signature: how it was"
        " computed, and with which seed.",
    ]


def flags_by_name(results: Results) -> list[tuple[str, str, str]]:
    """List every flag raised on some number: its name, its meaning and where it was raised."""
    places: dict[str, list[str]] = {}
    raised = [(row.flags, row.variant, row.task) for row in results.estimates]
    raised += [(row.flags, row.variant, row.task) for row in results.comparisons]
    for flags, variant, task in raised:
        for flag in flags:
            spot = f"{variant} on {task}"
            if spot not in places.setdefault(flag, []):
                places[flag].append(spot)
    total = len({(row.variant, row.task) for row in results.estimates if row.kind == "model"})
    told = []
    for flag, spots in sorted(places.items()):
        if len(spots) >= total > 1:
            where = "every arm on every task"
        elif len(spots) > _SPELLED_OUT:
            rest = len(spots) - _SPELLED_OUT
            where = f"{', '.join(spots[:_SPELLED_OUT])} and {rest} more"
        else:
            where = listing(spots)
        told.append((flag, flag_meaning(flag), where))
    return told
