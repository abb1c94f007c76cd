"""Intervals of differences as a small drawing, written as SVG by hand: no plotting library."""

import html
import math
from collections.abc import Callable, Sequence

from lightning_dna.report.numbers import Display
from lightning_dna.stats.tables import ComparisonRow

_WIDTH, _LABEL, _EDGE = 520.0, 150.0, 14.0
_ROW, _TOP, _AXIS = 24.0, 8.0, 26.0
_LETTERS = 20
_MARGIN = 0.06
_COLOURS = {
    "better": "#14683a",
    "worse": "#a3211a",
    "equivalent": "#1b559a",
    "non-inferior": "#1b559a",
}
_UNDECIDED = "#4b5563"


def interval_plot(rows: Sequence[ComparisonRow], shown: Display) -> str:
    """Draw the differences of one task and metric with their intervals around a line at 0.

    Args:
        rows: One row per model, drawn from top to bottom.
        shown: How their numbers are written.

    Returns:
        An ``svg`` element; its text is escaped.
    """
    limits = [
        value * shown.scale
        for row in rows
        for value in (row.delta, row.low, row.high)
        if math.isfinite(value)
    ]
    low, high = min([0.0, *limits]), max([0.0, *limits])
    room = (high - low) * _MARGIN or 1.0
    low, high = low - room, high + room
    bottom = _TOP + _ROW * len(rows)

    def place(value: float) -> float:
        return _LABEL + (value - low) / (high - low) * (_WIDTH - _LABEL - _EDGE)

    parts = [
        f'<svg viewBox="0 0 {_WIDTH:g} {bottom + _AXIS:g}" role="img" font-size="12"'
        ' font-family="system-ui, sans-serif">'
    ]
    for tick in ticks(low, high):
        at = place(tick)
        colour, thickness = ("#1c2430", 1.2) if tick == 0 else ("#dfe3e9", 1)
        parts.append(
            f'<path d="M{at:.1f} {_TOP:g}V{bottom:g}" stroke="{colour}"'
            f' stroke-width="{thickness:g}"/>'
            f'<text x="{at:.1f}" y="{bottom + 16:g}" text-anchor="middle" fill="#5a6472">'
            f"{_tick_text(tick)}</text>"
        )
    for number, row in enumerate(rows):
        parts.append(_row(row, shown, _TOP + _ROW * (number + 0.5), place))
    return "\n".join([*parts, "</svg>"])


def _row(row: ComparisonRow, shown: Display, at: float, place: Callable[[float], float]) -> str:
    """Draw one model: name, interval, point."""
    colour = _COLOURS.get(row.verdict, _UNDECIDED)
    name = row.variant if len(row.variant) <= _LETTERS else row.variant[: _LETTERS - 1] + "…"
    drawn = [
        f'<text x="{_LABEL - 10:g}" y="{at + 4:g}" text-anchor="end" fill="#1c2430">'
        f"{html.escape(name)}</text>"
    ]
    if math.isfinite(row.low) and math.isfinite(row.high):
        ends = [place(value * shown.scale) for value in (row.low, row.high)]
        drawn.append(
            f'<path d="M{ends[0]:.1f} {at:g}H{ends[1]:.1f}" stroke="{colour}" stroke-width="2.4"/>'
        )
    if math.isfinite(row.delta):
        fill = colour if row.verdict in _COLOURS else "#ffffff"
        drawn.append(
            f'<circle cx="{place(row.delta * shown.scale):.1f}" cy="{at:g}" r="4.2" fill="{fill}"'
            f' stroke="{colour}" stroke-width="1.8"/>'
        )
    tip = f"{row.variant}: {shown.signed(row.delta)} {shown.interval(row.low, row.high, sign=True)}"
    verdict = "not tested" if math.isnan(row.p) else row.verdict
    return f"<g><title>{html.escape(tip)}, {html.escape(verdict)}</title>{''.join(drawn)}</g>"


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two limits, three to seven of them, 0 among them if inside.

    Example:
        >>> ticks(-0.013, 0.052)
        [0.0, 0.02, 0.04]
    """
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(number * step, 12) + 0.0 for number in range(first, last + 1)]


def _tick_text(value: float) -> str:
    """Write the number of a tick."""
    return f"{value:+.6g}".replace("-", "\u2212") if value else "0"
