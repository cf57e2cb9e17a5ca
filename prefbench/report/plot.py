"""Forest plots as PNG: every row of a board with its win rates, or the accuracy where nothing was judged; and differences between rows."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

from prefbench.config import UNTRAINED
from prefbench.report.comparison import Comparison
from prefbench.report.layout import ACCURACY, CONTROLLED, GOLD, JUDGED, Metric
from prefbench.report.outcome import REPRODUCED
from prefbench.report.rows import Board, Row
from prefbench.report.stats import Estimate

DPI = 110
ROW_INCHES = 0.44
"""Height of a row with its marks."""

MARGIN = 2.0
"""Percentage points beyond the outermost interval."""

CAPTION = "{}\nbars: 95 % intervals; in brackets: seeds"

INK, FAINT, BAND = "#222222", "#8a8a8a", "#f5f5f3"


@dataclass(frozen=True)
class Mark:
    """How a win rate is drawn: a shape and a colour that differ in print and for colour-blind readers."""

    metric: Metric
    shape: str
    colour: str
    label: str


MARKS = (
    Mark(GOLD, "D", "#b8860b", "gold"),
    Mark(CONTROLLED, "o", "#0b62a4", "length-controlled"),
    Mark(JUDGED, "s", "#8f8f8f", "judge, raw"),
)
UNJUDGED = Mark(ACCURACY, "o", "#0b62a4", "held-out accuracy")
"""Drawn where a board has no win rate."""

DECIDED = "#0b62a4"
"""The colour of differences; what is undecided is hollow."""


def forest(board: Board) -> bytes:
    """The plot as PNG bytes: rows in the board's order, best at the top, in percent; an even match is the dashed line.

    The axis spans the trained rows: what lies beyond it, as an untrained model's win rate may, is written at the edge.
    """
    marks = [mark for mark in MARKS if board.has(mark.metric.name)] or [UNJUDGED]
    rows = [row for row in board.rows if any(mark.metric.name in row.metrics for mark in marks)]
    span = _span(rows, marks)
    figure, axes = _canvas(board.title, [_name(row) for row in rows], span, even=50)
    for position, row in enumerate(rows):
        for place, mark in enumerate(marks):
            if mark.metric.name in row.metrics:
                _draw(axes, position + (place - (len(marks) - 1) / 2) * 0.24, mark, row.metrics[mark.metric.name], span)
    axes.set_xlabel(
        CAPTION.format("held-out accuracy, %" if marks == [UNJUDGED] else "win rate against the starting model, %"), fontsize=9, color=INK
    )
    _legend(axes, marks)
    return _png(figure)


def differences_forest(comparison: Comparison) -> bytes:
    """The plot of a comparison as PNG bytes, rows in its order; better and worse are filled, no decision is hollow, zero is the dashed line."""
    rows = [(row, row.estimate) for row in comparison.rows if row.estimate]
    scale = 100 if comparison.metric.percent else 1
    ends = [scale * end for _, e in rows for end in (e.value, e.low, e.high) if not math.isnan(end)]
    room = 0.06 * max((abs(end) for end in ends), default=1.0) or 1.0
    span = min([0.0, *ends]) - room, max([0.0, *ends]) + room
    figure, axes = _canvas(comparison.title, [f"{row.label}  ({e.seeds})" for row, e in rows], span, even=0)
    for position, (row, e) in enumerate(rows):
        if not math.isnan(e.low):
            axes.plot([scale * e.low, scale * e.high], [position] * 2, color=DECIDED, linewidth=1.8, solid_capstyle="butt", zorder=2)
        face = DECIDED if row.verdict and row.verdict.side else "white"
        axes.plot(scale * e.value, position, "o", color=DECIDED, markersize=6, markerfacecolor=face, zorder=3)
    unit = f"{comparison.metric.title}{', points' if comparison.metric.percent else ''}, minus {comparison.against}"
    axes.set_xlabel(CAPTION.format(unit) + "; filled: better or worse after Holm", fontsize=9, color=INK)
    return _png(figure)


def canvas_and_figure() -> tuple[Any, Any]:
    """matplotlib's types of both, which take half a second to import."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    return FigureCanvasAgg, Figure


def _canvas(title: str, labels: list[str], span: tuple[float, float], even: float) -> tuple[Any, Any]:
    """A figure and its axes with a striped line for every label, and a dashed one where the sides are even."""
    canvas_type, figure_type = canvas_and_figure()
    figure = figure_type(figsize=(7.6, 1.55 + ROW_INCHES * max(len(labels), 1)), dpi=DPI, layout="constrained")
    canvas_type(figure)
    axes = figure.add_subplot()
    for position in range(0, len(labels), 2):
        axes.axhspan(position - 0.5, position + 0.5, color=BAND, zorder=0)
    _frame(axes, title, labels, span, even)
    return figure, axes


def _png(figure: Any) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()


def _span(rows: list[Row], marks: list[Mark]) -> tuple[float, float]:
    """The ends of the axis in percent: 50, the intervals of the trained rows (of all, where none is trained), and what lies among them."""
    trained = [row for row in rows if row.scheduler != UNTRAINED] or rows
    inner = _extent(_estimates(trained, marks), 50.0 - MARGIN, 50.0 + MARGIN)
    shown = [estimate for estimate in _estimates(rows, marks) if inner[0] <= 100 * estimate.value <= inner[1]]
    return _extent(shown, *inner)


def _estimates(rows: list[Row], marks: list[Mark]) -> list[Estimate]:
    return [row.metrics[mark.metric.name] for row in rows for mark in marks if mark.metric.name in row.metrics]


def _extent(estimates: list[Estimate], low: float, high: float) -> tuple[float, float]:
    """The ends widened to hold every interval with a margin, within what a percentage can be."""
    ends = [100 * end for e in estimates for end in (e.value, e.low, e.high) if not math.isnan(end)]
    return max(min([low, *(end - MARGIN for end in ends)]), -1.0), min(max([high, *(end + MARGIN for end in ends)]), 101.0)


def _draw(axes: Any, height: float, mark: Mark, estimate: Estimate, span: tuple[float, float]) -> None:
    value, low, high = 100 * estimate.value, 100 * estimate.low, 100 * estimate.high
    if not span[0] <= value <= span[1]:
        text, edge, side = (f"◂ {value:.1f}", span[0], "left") if value < span[0] else (f"{value:.1f} ▸", span[1], "right")
        axes.text(edge, height, text, color=mark.colour, fontsize=8, ha=side, va="center")
        return
    if not math.isnan(low):
        axes.plot([low, high], [height, height], color=mark.colour, linewidth=1.8, solid_capstyle="butt", zorder=2)
    axes.plot(value, height, mark.shape, color=mark.colour, markersize=5, markeredgecolor="white", markeredgewidth=0.6, zorder=3)


def _frame(axes: Any, title: str, labels: list[str], span: tuple[float, float], even: float) -> None:
    axes.axvline(even, color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.set_xlim(*span)
    axes.set_ylim(max(len(labels), 1) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels, fontsize=9.5, color=INK)
    axes.tick_params(axis="both", length=0, pad=6)
    axes.tick_params(axis="x", labelsize=9, labelcolor=INK)
    axes.grid(axis="x", color="#e2e2e2", linewidth=0.8, zorder=1)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title(title, fontsize=11, color=INK, loc="left", pad=24, fontweight="bold")


def _name(row: Row) -> str:
    mode = "" if row.mode == REPRODUCED else f", {row.mode}"
    return f"{row.label}  ({len(row.seeds)}{mode})"


def _legend(axes: Any, marks: list[Mark]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=mark.colour, marker=mark.shape, markersize=5, linewidth=1.8, label=mark.label) for mark in marks]
    if handles:
        axes.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=len(handles), frameon=False, fontsize=9, labelcolor=INK
        )
