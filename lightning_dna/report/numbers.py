"""How numbers are written: one row per metric, and the few number formats of the report."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lightning_dna.stats.metrics import LABEL_METRICS, METRICS

MINUS = "\u2212"
ABSENT = "\u2014"
NO_BREAK = "\u00a0"


@dataclass(frozen=True, kw_only=True)
class Display:
    """How a metric is shown.

    Attributes:
        title: Name in words, for a heading.
        unit: Unit of a value, such as ``"%"``; empty when it has none.
        difference_unit: Unit of a difference, such as ``"points"``.
        scale: Factor from the stored number to the shown one.
        decimals: Digits after the point.
        greater_is_better: Direction, or ``None`` when it is not known.
    """

    title: str
    unit: str
    difference_unit: str
    scale: float
    decimals: int
    greater_is_better: bool | None

    @property
    def direction(self) -> str:
        """The direction in words, empty when it is not known."""
        if self.greater_is_better is None:
            return ""
        return "higher is better" if self.greater_is_better else "lower is better"

    def number(self, value: float) -> str:
        """Write a value without its unit."""
        return fixed(value * self.scale, self.decimals)

    def signed(self, value: float) -> str:
        """Write a difference with its sign and without its unit."""
        return fixed(value * self.scale, self.decimals, sign=True)

    def interval(self, low: float, high: float, *, sign: bool = False) -> str:
        """Write ``[low, high]`` with a space that never breaks; absent when either limit is."""
        if math.isnan(low) or math.isnan(high):
            return "no interval"
        write = self.signed if sign else self.number
        return f"[{write(low)},{NO_BREAK}{write(high)}]"

    def with_unit(self, value: float) -> str:
        """Write a value with its unit."""
        return f"{self.number(value)}{NO_BREAK}{self.unit}".strip()

    def difference_with_unit(self, value: float) -> str:
        """Write the size of a difference with its unit."""
        return f"{self.number(value)}{NO_BREAK}{self.difference_unit}".strip()


# title, unit of a value, unit of a difference, scale, decimals
_DISPLAY: dict[str, tuple[str, str, str, float, int]] = {
    "mlm_accuracy": ("Masked-base accuracy", "%", "points", 100.0, 2),
    "accuracy": ("Accuracy", "%", "points", 100.0, 2),
    "balanced_accuracy": ("Balanced accuracy", "%", "points", 100.0, 2),
    "f1": ("F1", "", "", 1.0, 4),
    "macro_f1": ("Macro F1", "", "", 1.0, 4),
    "mcc": ("Matthews correlation", "", "", 1.0, 4),
    "auroc": ("AUROC", "", "", 1.0, 4),
    "auprc": ("AUPRC (average precision)", "", "", 1.0, 4),
    "tpr_at_fpr01": ("True-positive rate at 1 % false positives", "%", "points", 100.0, 2),
    "mean_auroc": ("AUROC, mean over labels", "", "", 1.0, 4),
    "mean_auprc": ("AUPRC, mean over labels", "", "", 1.0, 4),
    "median_auroc": ("AUROC, median over labels", "", "", 1.0, 4),
    "median_auprc": ("AUPRC, median over labels", "", "", 1.0, 4),
    "pearson": ("Pearson correlation", "", "", 1.0, 4),
    "spearman": ("Spearman correlation", "", "", 1.0, 4),
    "r2": ("R²", "", "", 1.0, 4),
    "mse": ("Mean squared error", "", "", 1.0, 4),
    "mae": ("Mean absolute error", "", "", 1.0, 4),
    "bits_per_base": ("Bits per base", "bits", "bits", 1.0, 4),
    "exposure": ("Exposure of canaries", "bits", "bits", 1.0, 2),
    "cross_entropy": ("Cross-entropy", "nats", "nats", 1.0, 4),
}


def display(metric: str) -> Display:
    """Return how a metric is shown; one without a row above keeps its name and four decimals.

    Example:
        >>> display("accuracy").with_unit(0.4471).split()
        ['44.71', '%']
    """
    plain = metric.replace("_", " ").capitalize()
    title, unit, difference_unit, scale, decimals = _DISPLAY.get(metric, (plain, "", "", 1.0, 4))
    known = METRICS.get(metric) or LABEL_METRICS.get(metric)
    return Display(
        title=title,
        unit=unit,
        difference_unit=difference_unit,
        scale=scale,
        decimals=decimals,
        greater_is_better=None if known is None else known.greater_is_better,
    )


def adapted(shown: Display, errors: Sequence[float]) -> Display:
    """Return a display with two digits of the smallest standard error, for any unit of measure.

    Args:
        shown: How the metric is shown; kept where its own digits are fixed by its scale.
        errors: Standard errors.

    Example:
        >>> adapted(display("mean"), [12.3]).number(4567.8), adapted(display("mean"), []).decimals
        ('4\u2009568', 4)
    """
    known = [error for error in errors if math.isfinite(error) and error > 0]
    if not known:
        return shown
    return replace(shown, decimals=max(0, min(12, 1 - math.floor(math.log10(min(known))))))


def fixed(value: float, decimals: int, *, sign: bool = False) -> str:
    """Write a number with a fixed number of decimals and a true minus sign.

    Zero never gets a sign, also when it is the rounding of a negative number.

    Example:
        >>> fixed(-0.8249, 2), fixed(0.5, 1, sign=True), fixed(-0.001, 2, sign=True)
        ('−0.82', '+0.5', '0.00')
    """
    if math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{abs(value):,.{decimals}f}".replace(",", "\u2009")
    if float(f"{abs(value):.{decimals}f}") == 0:
        return text
    return (MINUS if value < 0 else "+" if sign else "") + text


def p_value(p: float) -> str:
    """Write a p-value with three decimals, small ones as a bound.

    Example:
        >>> p_value(0.0312), p_value(0.00004), p_value(1.0)
        ('0.031', '<0.001', '1')
    """
    if math.isnan(p):
        return ABSENT
    if p < 0.001:
        return "<0.001"
    return "1" if p > 0.9995 else f"{p:.3f}"


def p_equation(p: float) -> str:
    """Write ``p = 0.031`` or ``p < 0.001``."""
    text = p_value(p)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def magnitude(value: float) -> str:
    """Write a count with three significant digits and a letter for its magnitude.

    Example:
        >>> magnitude(1_234_567), magnitude(200_000_000), magnitude(950)
        ('1.23 M', '200 M', '950')
    """
    if math.isnan(value):
        return ABSENT
    for step, (limit, letter) in enumerate(_MAGNITUDES):
        # 999.6 k is written as 1.00 M, not as 1000 k
        if abs(value) >= limit * 0.9995 or step == len(_MAGNITUDES) - 1:
            scaled = value / limit
            decimals = 0 if limit == 1 or abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
            return f"{fixed(scaled, decimals)} {letter}".strip()
    raise AssertionError("the last magnitude takes everything")


_MAGNITUDES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def duration(seconds: float) -> str:
    """Write a duration in its largest fitting unit.

    Example:
        >>> duration(42.3), duration(600), duration(9000)
        ('42 s', '10.0 min', '2.5 h')
    """
    if math.isnan(seconds):
        return ABSENT
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def listing(items: list[str]) -> str:
    """Join items as in a sentence.

    Example:
        >>> listing(["a", "b", "c"]), listing(["a", "b"]), listing(["a"])
        ('a, b and c', 'a and b', 'a')
    """
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
