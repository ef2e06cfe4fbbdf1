"""HTML and SVG elements, and the drawings of the report made of them.

Texts and attribute values are escaped when the tree is written, so no name can become markup. The standard library's
`ElementTree` is enough for that: a tree has no text that could be left unescaped, so a template engine adds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final
from xml.etree import ElementTree

from .._model.run import TeamRun
from .._model.text import change, clean, seconds
from .reported import ReportedExperiment

Element = ElementTree.Element
Child = Element | str | None

_WIDTH: Final = 720
_LEFT: Final = 64
_RIGHT: Final = 12
_WIDEST_EFFECT: Final = 2.0
"""Relative change at which the effect chart ends; an interval that goes on has an arrow."""


def element(tag: str, *children: Child, **attributes: object) -> Element:
    """Return an element.

    Args:
        *children: Elements and texts in order; texts are cleaned of control characters, None is left out.
        **attributes: Its attributes; a trailing underscore is dropped (`class_`), others become hyphens, and None is
            left out.
    """
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), clean(value))
    last: Element | None = None
    for child in children:
        if child is None:
            continue
        if isinstance(child, str):
            shown = clean(child)
            if last is None:
                made.text = (made.text or "") + shown
            else:
                last.tail = (last.tail or "") + shown
        else:
            made.append(child)
            last = child
    return made


def table(headings: list[str], rows: list[list[Child]], *, numbers: set[str] | None = None) -> Element:
    """Return a table that scrolls sideways where it is too wide.

    Args:
        numbers: Headings of the columns that hold numbers.
    """
    right = numbers or set()
    kinds = ["number" if heading in right else None for heading in headings]
    head = element(
        "tr", *[element("th", text, class_=kind, scope="col") for text, kind in zip(headings, kinds, strict=True)]
    )
    body = [
        element("tr", *[element("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)])
        for row in rows
    ]
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="scroll")


def to_html(root: Element) -> str:
    """Return a whole document as text."""
    return "<!DOCTYPE html>\n" + ElementTree.tostring(root, encoding="unicode", method="html") + "\n"


def durations(runs: Sequence[TeamRun]) -> Element:
    """Draw how long runs took, oldest at the left, on a logarithmic scale; there is at least one run."""
    height, top, bottom = 180, 12, 24
    logs = [math.log10(max(run.duration_seconds, 1e-3)) for run in runs]
    low, high = min(logs), max(logs)
    if high - low < 0.3:
        low, high = low - 0.15, high + 0.15

    def y(value: float) -> float:
        return round(top + (height - top - bottom) * (high - value) / (high - low), 1)

    def x(index: int) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * (index + 0.5) / len(runs), 1)

    axis = []
    for share in (0.0, 0.5, 1.0):
        value = low + share * (high - low)
        axis.append(element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y(value), y2=y(value), class_="grid"))
        label = seconds(10**value)
        axis.append(element("text", label, x=_LEFT - 8, y=y(value) + 4, text_anchor="end", class_="label"))
    points = [_point(run, x(index), y(value)) for index, (run, value) in enumerate(zip(runs, logs, strict=True))]
    caption = element("text", f"last {len(runs)} runs, oldest at the left", x=_LEFT, y=height - 6, class_="label")
    title = element("title", f"Duration of the last {len(runs)} runs")
    return element("svg", title, *axis, *points, caption, viewBox=f"0 0 {_WIDTH} {height}", role="img", class_="chart")


def _point(run: TeamRun, x: float, y: float) -> Element:
    said = f"{seconds(run.duration_seconds)}, {run.plan_asked.describe()}{'' if run.success else ', failed'}"
    kind = "failed" if not run.success else ("configured" if run.plan_asked.is_empty else "planned")
    title = element("title", said)
    if kind == "failed":
        return element("path", title, d=f"M{x - 3} {y - 3}l6 6m0 -6l-6 6", class_=kind)
    if kind == "planned":
        return element("path", title, d=f"M{x} {y - 4}l4 4l-4 4l-4 -4z", class_=kind)
    return element("circle", title, cx=x, cy=y, r=3, class_=kind)


def effects(experiments: Sequence[ReportedExperiment]) -> Element | None:
    """Draw the effect of each experiment with its interval, beside a line at no change; None without an estimate."""
    known = [one for one in experiments if one.verdict.get("effect") is not None]
    if not known:
        return None
    ends = [abs(end) for one in known for end in (*one.verdict["interval"], one.verdict["effect"]) if end is not None]
    most = min(_WIDEST_EFFECT, max(0.2, *ends))
    row, top = 26, 8
    height = top + row * len(known) + 24
    middle, half = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2, (_WIDTH - _LEFT - _RIGHT) / 2 - 8

    def x(share: float) -> float:
        return float(round(middle + half * max(-1.0, min(1.0, share / most)), 1))

    rows = [_effect(one, top + row * (index + 0.5), x, most) for index, one in enumerate(known)]
    marks = [
        element("text", change(share), x=x(share), y=height - 6, text_anchor=anchor, class_="label")
        for share, anchor in ((-most, "start"), (0.0, "middle"), (most, "end"))
    ]
    zero = element("line", x1=middle, x2=middle, y1=top, y2=height - 22, class_="zero")
    title = element("title", "Effect of each experiment with its interval")
    return element("svg", title, zero, *rows, *marks, viewBox=f"0 0 {_WIDTH} {height}", role="img", class_="chart")


def _effect(one: ReportedExperiment, y: float, x: Callable[[float], float], most: float) -> Element:
    verdict, kind = one.verdict, one.experiment.status
    low, high = (
        end if end is not None else sign * math.inf for end, sign in zip(verdict["interval"], (-1, 1), strict=True)
    )
    line = element("line", x1=x(low), x2=x(high), y1=y, y2=y, class_="interval")
    arrows = []
    if low < -most:
        arrows.append(element("path", d=f"M{x(low)} {y}l7 -4v8z", class_="arrow"))
    if high > most:
        arrows.append(element("path", d=f"M{x(high)} {y}l-7 -4v8z", class_="arrow"))
    dot = element("circle", cx=x(verdict["effect"]), cy=y, r=5, class_="estimate")
    label = element("text", one.experiment.id[:7], x=_LEFT - 8, y=y + 4, text_anchor="end", class_="label")
    title = element("title", f"{one.experiment.description} {verdict.get('reason', '')}")
    return element("g", title, label, line, *arrows, dot, class_=f"row {kind}")
