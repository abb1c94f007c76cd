"""Drawing: panels of plain numbers to SVG text. The only module that knows matplotlib.

Figures are built with the object interface on the SVG backend, so nothing depends on a display or
on another caller's settings, and the same numbers give the same bytes.
"""

import io
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lightning_dna.report.series import CurvePanel, Panel, StripPanel

# Okabe and Ito's colours in an order that keeps neighbours apart; told apart by marker as well.
COLOURS = ("#1f2937", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D46")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")

VERDICT_STYLES: dict[str, tuple[str, str, str]] = {
    # colour, fill, marker
    "better": ("#1a7f45", "#1a7f45", "^"),
    "worse": ("#b3261e", "#b3261e", "v"),
    "equivalent": ("#1d5fa8", "#1d5fa8", "D"),
    "inconclusive": ("#6b7280", "#ffffff", "o"),
    "neutral": ("#5b3f8c", "#5b3f8c", "s"),
}
PART_STYLES: dict[str, tuple[str, str, str]] = {
    "train": ("#6b7280", "#ffffff", "o"),
    "valid": ("#E69F00", "#ffffff", "D"),
    "test": ("#0072B2", "#0072B2", "s"),
    "repeat": ("#D55E00", "#D55E00", "s"),
    "unique": ("#0072B2", "#ffffff", "o"),
    "gap": ("#1f2937", "#1f2937", "o"),
}
PART_NAMES = {
    "train": "training chromosome",
    "valid": "validation chromosome",
    "test": "held-out chromosome",
    "repeat": "inside repeats",
    "unique": "outside repeats",
}

STRIP_STYLES: dict[str, tuple[str, str, str]] = {
    "held": ("#0072B2", "#0072B2", "o"),
    "liberal": ("#b3261e", "#b3261e", "^"),
    "conservative": ("#E69F00", "#E69F00", "v"),
    "flagged": ("#6b7280", "#ffffff", "o"),
    "reported": ("#1f2937", "#1f2937", "o"),
}
STRIP_NAMES = {
    "held": "within limits",
    "liberal": "errs too often",
    "conservative": "covers too often",
    "flagged": "flagged, not judged",
    "reported": "one cell",
}

_INK, _FAINT = "#374151", "#d7dce3"
# Text is measured with DejaVu Sans, which matplotlib carries and which is wider than these, so
# labels that fit there fit on every reader's screen.
_READER_FONTS = "system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
_WIDTH = 10.4


@contextmanager
def house_style() -> Iterator[None]:
    """Draw with matplotlib's own defaults and ours, whatever the user's settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "svg.hashsalt": "lightning_dna",
                "svg.fonttype": "none",
                "font.family": ["DejaVu Sans"],
                "font.size": 9.0,
            }
        )
        yield


def forest(panels: Sequence[Panel], *, prefix: str) -> str:
    """Draw differences with their intervals, one row per arm, arms aligned across panels."""
    arms = list(dict.fromkeys(mark.label for panel in panels for mark in panel.marks))
    with house_style():
        figure, axes = grid(len(panels), 3, row_height=1.05 + 0.27 * len(arms))
        for number, (panel, ax) in enumerate(zip(panels, axes, strict=True)):
            _zero_and_margin(ax, panel)
            for mark in panel.marks:
                height = len(arms) - 1 - arms.index(mark.label)
                _whisker(ax, mark.value, height, mark.low, mark.high, VERDICT_STYLES[mark.kind])
            _arm_axis(ax, arms, labelled=number % 3 == 0)
            _title(ax, panel.title)
            ends = {"higher": ("← worse", "better →"), "lower": ("← better", "worse →")}
            left, right = ends.get(panel.better, ("", ""))
            unit = f"difference, {panel.axis}".rstrip(", ")
            # em spaces: a browser folds ordinary ones
            ax.set_xlabel(f"{left}\u2003{unit}\u2003{right}".strip())
        kinds = dict.fromkeys(mark.kind for panel in panels for mark in panel.marks)
        legend(figure, [(kind, VERDICT_STYLES[kind]) for kind in VERDICT_STYLES if kind in kinds])
        return svg(figure, prefix)


def _zero_and_margin(ax: Axes, panel: Panel) -> None:
    """Draw the line of no difference and the band of practical equivalence."""
    if panel.margin is not None:
        ax.axvspan(-panel.margin, panel.margin, color="#eaf1f9", linewidth=0, zorder=0)
    ax.axvline(0, color=_INK, linewidth=0.9, zorder=1)


def cost(panels: Sequence[Panel], *, prefix: str) -> str:
    """Draw a metric against costs; every arm has one colour and marker in all panels."""
    arms = list(dict.fromkeys(mark.label for panel in panels for mark in panel.marks))
    with house_style():
        figure, axes = grid(len(panels), 3, row_height=3.0)
        for number, (panel, ax) in enumerate(zip(panels, axes, strict=True)):
            for mark in panel.marks:
                colour, marker = arm_style(arms.index(mark.label))
                style = (colour, colour, marker)
                _whisker(ax, mark.cost, mark.value, mark.low, mark.high, style, upright=True)
            ax.set_xlabel(panel.other_axis)
            if number % 3 == 0:
                ax.set_ylabel(panel.axis)
            _widen(ax, [mark.cost for mark in panel.marks])
            ax.xaxis.set_major_locator(MaxNLocator(5))
        styles = [arm_style(number) for number in range(len(arms))]
        legend(figure, [(arm, (c, c, m)) for arm, (c, m) in zip(arms, styles, strict=True)])
        return svg(figure, prefix)


def _widen(ax: Axes, positions: Sequence[float]) -> None:
    """Keep costs that are equal by design from being spread over the whole axis."""
    low, high = min(positions), max(positions)
    room = max(0.12 * (high - low), 0.05 * abs(high), 1e-9)
    ax.set_xlim(low - room, high + room)


def curves(panels: Sequence[CurvePanel], *, prefix: str) -> str:
    """Draw learning curves: seeds as thin lines, their mean as a thick one."""
    arms = list(dict.fromkeys(line.arm for panel in panels for line in panel.lines))
    with house_style():
        figure, axes = grid(len(panels), 2, row_height=3.3)
        for panel, ax in zip(panels, axes, strict=True):
            for line in panel.lines:
                colour, _ = arm_style(arms.index(line.arm))
                mean = line.seed is None
                ax.plot(
                    [tokens / 1e6 for tokens in line.tokens],
                    line.values,
                    color=colour,
                    linewidth=1.7 if mean else 0.6,
                    alpha=1.0 if mean else 0.55,
                    linestyle="-" if arms.index(line.arm) < len(COLOURS) else "--",
                    zorder=3 if mean else 2,
                )
            ax.set_xlabel("Training tokens, millions")
            ax.set_ylabel(panel.axis)
        marks = [(arm, (arm_style(number)[0], "", "")) for number, arm in enumerate(arms)]
        legend(figure, marks)
        return svg(figure, prefix)


def chromosomes(panels: Sequence[Panel], *, prefix: str) -> str:
    """Draw one small panel per arm, chromosomes along it, training beside held-out."""
    with house_style():
        most = max(len(panel.marks) for panel in panels)
        columns = 4 if most <= 12 else 2
        figure, axes = grid(len(panels), columns, row_height=1.95, share=True)
        figure.supylabel(panels[0].axis, fontsize=9)
        for panel, ax in zip(panels, axes, strict=True):
            for at, mark in enumerate(panel.marks):
                style = PART_STYLES.get(mark.kind, PART_STYLES["gap"])
                _whisker(ax, at, mark.value, mark.low, mark.high, style, upright=True)
            names = [mark.label for mark in panel.marks]
            every = math.ceil(len(names) / 40)
            ax.set_xticks(range(0, len(names), every), names[::every], rotation=60, fontsize=7)
            ax.set_xlim(-0.6, len(names) - 0.4)
            _title(ax, panel.title)
        legend(figure, _part_legend(panels))
        return svg(figure, prefix)


def parts(panels: Sequence[Panel], *, prefix: str) -> str:
    """Draw values of strata, and the memorization gap, one row per arm."""
    arms = list(dict.fromkeys(mark.label for panel in panels for mark in panel.marks))
    with house_style():
        figure, axes = grid(len(panels), 2, row_height=0.95 + 0.27 * len(arms))
        for number, (panel, ax) in enumerate(zip(panels, axes, strict=True)):
            if {mark.kind for mark in panel.marks} == {"gap"}:
                ax.axvline(0, color=_INK, linewidth=0.9, zorder=1)
            for mark in panel.marks:
                height = len(arms) - 1 - arms.index(mark.label)
                _whisker(ax, mark.value, height, mark.low, mark.high, PART_STYLES[mark.kind])
            _arm_axis(ax, arms, labelled=number % 2 == 0)
            _title(ax, panel.title)
            ax.set_xlabel(panel.axis)
        legend(figure, _part_legend(panels))
        return svg(figure, prefix)


def strips(panels: Sequence[StripPanel], *, prefix: str) -> str:
    """Draw calibration: one row per label, one mark per cell, the allowed band behind them."""
    with house_style():
        most = max(len({mark.label for mark in panel.marks}) for panel in panels)
        figure, axes = grid(len(panels), 3, row_height=1.25 + 0.3 * most)
        for panel, ax in zip(panels, axes, strict=True):
            labels = list(dict.fromkeys(mark.label for mark in panel.marks))
            ax.axvspan(*panel.band, color="#eaf1f9", linewidth=0, zorder=0)
            ax.axvline(panel.nominal, color=_INK, linewidth=0.9, zorder=1)
            # Marks of a row are spread by the golden ratio, so that equal values stay apart.
            heights = [
                len(labels) - 1 - labels.index(mark.label) + 0.6 * ((at * 0.618034) % 1 - 0.5)
                for at, mark in enumerate(panel.marks)
            ]
            for kind, (colour, fill, marker) in STRIP_STYLES.items():
                chosen = [at for at, mark in enumerate(panel.marks) if mark.kind == kind]
                ax.plot(
                    [panel.marks[at].value for at in chosen],
                    [heights[at] for at in chosen],
                    marker=marker,
                    markersize=3.2,
                    markerfacecolor=fill,
                    markeredgecolor=colour,
                    linestyle="none",
                    alpha=0.7,
                    zorder=3,
                )
            _arm_axis(ax, labels, labelled=True)
            _title(ax, panel.title)
            ax.set_xlabel(panel.axis)
        kinds = {mark.kind for panel in panels for mark in panel.marks}
        legend(figure, [(STRIP_NAMES[k], STRIP_STYLES[k]) for k in STRIP_STYLES if k in kinds])
        return svg(figure, prefix)


def shares(panels: Sequence[Panel], *, prefix: str) -> str:
    """Draw shares: one row per label, one mark per kind, each kind in one colour and marker."""
    kinds = list(dict.fromkeys(mark.kind for panel in panels for mark in panel.marks))
    with house_style():
        most = max(len({mark.label for mark in panel.marks}) for panel in panels)
        figure, axes = grid(len(panels), 2, row_height=1.0 + 0.32 * most)
        for panel, ax in zip(panels, axes, strict=True):
            labels = list(dict.fromkeys(mark.label for mark in panel.marks))
            for mark in panel.marks:
                colour, marker = arm_style(1 + kinds.index(mark.kind))
                # Equal values of several kinds stay apart.
                spread = 0.3 - 0.6 * kinds.index(mark.kind) / max(len(kinds) - 1, 1)
                height = len(labels) - 1 - labels.index(mark.label) + spread
                style = (colour, colour, marker)
                _whisker(ax, mark.value, height, mark.low, mark.high, style)
            _arm_axis(ax, labels, labelled=True)
            for border in range(1, len(labels)):
                ax.axhline(border - 0.5, color=_FAINT, linewidth=0.5)
            _title(ax, panel.title)
            ax.set_xlabel(panel.axis)
        styles = [arm_style(1 + number) for number in range(len(kinds))]
        legend(figure, [(kind, (c, c, m)) for kind, (c, m) in zip(kinds, styles, strict=True)])
        return svg(figure, prefix)


def _part_legend(panels: Sequence[Panel]) -> list[tuple[str, tuple[str, str, str]]]:
    """Return the legend of the parts that occur."""
    kinds = dict.fromkeys(mark.kind for panel in panels for mark in panel.marks)
    return [(name, PART_STYLES[kind]) for kind, name in PART_NAMES.items() if kind in kinds]


def arm_style(number: int) -> tuple[str, str]:
    """Return colour and marker of an arm; past the palette, colours repeat with other markers."""
    turn = number // len(COLOURS)
    return COLOURS[number % len(COLOURS)], MARKERS[(number + 3 * turn) % len(MARKERS)]


def grid(
    count: int, columns: int, *, row_height: float, share: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure and ``count`` axes in rows of at most ``columns``."""
    rows = math.ceil(count / columns)
    columns = min(count, columns)
    # A panel alone does not become as wide as the page.
    width = _WIDTH if columns > 1 else _WIDTH * 0.62
    figure = Figure(figsize=(width, rows * row_height + 0.45), layout="constrained")
    FigureCanvasSVG(figure)
    axes: list[Axes] = []
    for number in range(count):
        shared = axes[0] if share and axes else None
        ax = figure.add_subplot(rows, columns, number + 1, sharey=shared)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            ax.spines[side].set_color("#9ca3af")
        ax.tick_params(colors=_INK, length=3, labelsize=8)
        ax.grid(color=_FAINT, linewidth=0.5)
        ax.set_axisbelow(True)
        axes.append(ax)
    return figure, axes


def _arm_axis(ax: Axes, arms: Sequence[str], *, labelled: bool) -> None:
    """Name the rows of a panel that has one row per arm."""
    names = [_short(arm) for arm in arms[::-1]] if labelled else [""] * len(arms)
    ax.set_yticks(range(len(arms)), names)
    ax.set_ylim(-0.6, len(arms) - 0.4)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(5))


def _title(ax: Axes, text: str) -> None:
    """Write a panel's heading, wrapped so that it stays above its own panel."""
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, 36)]
    ax.set_title("\n".join(lines).replace("$", r"\$"), fontsize=9, loc="left", color=_INK)


def _short(name: str, longest: int = 28) -> str:
    """Shorten a long name and keep matplotlib from reading dollar signs as mathematics."""
    name = name if len(name) <= longest else f"{name[: longest - 1]}…"
    return name.replace("$", r"\$")


def _whisker(
    ax: Axes,
    x: float,
    y: float,
    low: float,
    high: float,
    style: tuple[str, str, str],
    *,
    upright: bool = False,
) -> None:
    """Draw one value and, where there is one, its interval."""
    colour, fill, marker = style
    if not (math.isnan(low) or math.isnan(high)):
        ends = ([x, x], [low, high]) if upright else ([low, high], [y, y])
        ax.plot(*ends, color=colour, linewidth=1.4, solid_capstyle="butt", zorder=2)
    ax.plot(
        [x],
        [y],
        marker=marker,
        markersize=5.5,
        markerfacecolor=fill,
        markeredgecolor=colour,
        markeredgewidth=1.2,
        linestyle="none",
        zorder=3,
    )


def legend(figure: Figure, entries: Sequence[tuple[str, tuple[str, str, str]]]) -> None:
    """Draw one legend above all panels; an entry without marker is a line."""
    if not entries:
        return
    longest = max(len(_short(name)) for name, _ in entries)
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker or None,
            markerfacecolor=fill or colour,
            markeredgecolor=colour,
            markersize=6,
            linestyle="none" if marker else "-",
            linewidth=1.8,
            label=_short(name),
        )
        for name, (colour, fill, marker) in entries
    ]
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=max(1, min(len(handles), int(110 / (longest + 5)))),
        frameon=False,
        fontsize=8.5,
        handletextpad=0.4,
        columnspacing=1.6,
    )


def svg(figure: Figure, prefix: str) -> str:
    """Write a figure as SVG text without date or metadata, its ids made unique by a prefix."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{prefix}-", text)
    text = text.replace("'DejaVu Sans'", _READER_FONTS)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
