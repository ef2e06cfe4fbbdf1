"""Insights and suggestions on the screen: severity bars, and what a knob is before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from rich.padding import Padding
from rich.text import Text

from .._model.optimization import Bottleneck
from . import rendering as show

if TYPE_CHECKING:
    from rich.console import Console

    from .._model.optimization import OptimizationSuggestion, PerformanceInsight

_CELLS: Final = 10
_SECONDS: Final = (Bottleneck.SLOW_EXECUTION, Bottleneck.HIGH_LATENCY_OUTLIERS, Bottleneck.SERIAL_INDEPENDENT_WORK)
_SHARES: Final = (Bottleneck.LOW_SUCCESS_RATE, Bottleneck.UNDERSIZED_BUDGET, Bottleneck.UNDERPERFORMING_MEMBER,
                  Bottleneck.TIMEOUTS_TOO_TIGHT)  # fmt: skip
_RISKS: Final = ((0.15, "very low"), (0.3, "low"), (0.5, "medium"), (1.0, "high"))
_PRIORITY_STYLES: Final = {"critical": "bold red", "high": "red", "medium": "yellow", "low": ""}


def bar(share: float, console: Console) -> Text:
    """Return a bar of ten cells, ASCII where the terminal shows nothing else.

    Args:
        share: From 0 to 1.
        console: Where it is shown.
    """
    full, empty = ("#", ".") if console.options.ascii_only else ("█", "░")
    cells = max(0, min(_CELLS, round(share * _CELLS)))
    style = "red" if share >= 0.7 else "yellow" if share >= 0.4 else "green"
    return Text("[").append(full * cells, style).append(empty * (_CELLS - cells)).append("]")


def print_insight(number: int, insight: PerformanceInsight) -> None:
    """Print an insight.

    Args:
        number: Its number, from 1.
        insight: The insight.
    """
    console = show.out()
    title = insight.bottleneck.replace("_", " ").capitalize()
    console.print(Text(f"{number}. ").append(show.clean(title), "bold"))
    head = Text("Severity ").append_text(bar(insight.severity, console)).append(f" {insight.severity:.2f}")
    _line(console, head.append(f"   Impact {insight.impact_magnitude:.2f}"))
    now, usual = (_amount(insight.bottleneck, value) for value in (insight.current_value, insight.baseline_value))
    _line(console, Text(f"Now {now}, {_baseline(insight)} {usual}"))
    _line(console, show.text(insight.recommendation))
    if insight.affected_components:
        _line(console, show.text(f"Concerns: {', '.join(insight.affected_components)}", "dim"))
    console.print()


def print_suggestion(number: int, suggestion: OptimizationSuggestion) -> None:
    """Print a suggestion, with every knob before and after.

    Args:
        number: Its number, from 1.
        suggestion: The suggestion.
    """
    console = show.out()
    _print_wrapped(console, Text(f"{number}. ").append(show.clean(suggestion.description), "bold"))
    priority = str(suggestion.priority.value)
    kind = Text(show.clean(suggestion.type)).append(", priority ").append(priority, _PRIORITY_STYLES[priority])
    _line(console, kind.append(f", risk {suggestion.risk_level:.2f} ({risk_word(suggestion.risk_level)})"))
    _line(console, show.text(expectation(suggestion)))
    for knob, before, after in differences(suggestion):
        _line(console, show.text(f"{knob}: {before} → {after}"))
    if suggestion.metadata.needs_person:
        _line(console, show.text("It loosens a limit, so only a person may allow it.", "yellow"))
    console.print()


def expectation(suggestion: OptimizationSuggestion) -> str:
    """Return what a suggestion is expected to bring, in a sentence."""
    interval = suggestion.metadata.interval_percent
    bounds = "" if not interval else f" ({interval[0]:+.0f} % to {interval[1]:+.0f} %)"
    metric = suggestion.metadata.metric
    of = "" if not metric else f" of the {str(metric).replace('_', ' ')}"
    gain = suggestion.expected_improvement
    return f"Expected improvement{of}: {gain:+.0f} %{bounds}, confidence {suggestion.confidence:.2f}"


def differences(suggestion: OptimizationSuggestion) -> list[tuple[str, str, str]]:
    """Return the knobs that a suggestion changes: name, before, after.

    Args:
        suggestion: The suggestion.
    """
    now = suggestion.current_config
    if suggestion.suggested_config.get("sub_teams") is not None and "formation" in now:
        now = {**now, "sub_teams": f"{now['formation']}, all together"}
    return [(knob, _value(now.get(knob)), _value(after)) for knob, after in suggestion.suggested_config.items()]


def risk_word(risk: float) -> str:
    """Return a risk level in words: very low, low, medium, high."""
    return next((word for most, word in _RISKS if risk <= most), "high")


def _value(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list | tuple):
        nested = [f"({', '.join(map(str, one))})" if isinstance(one, list | tuple) else str(one) for one in value]
        return ", ".join(nested)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _amount(bottleneck: str, value: float) -> str:
    if bottleneck in _SECONDS or bottleneck.startswith(Bottleneck.SUBOPTIMAL_FORMATION.value):
        return show.seconds(value)
    if bottleneck in _SHARES:
        return show.percent(value)
    return f"{value:.4g}"


def _baseline(insight: PerformanceInsight) -> str:
    source = getattr(getattr(insight.evidence, "baseline", None), "source", None)
    if source == "own history":
        return "before (own history)"
    if source == "given":
        return "baseline (given)"
    return "baseline (default)" if source == "default" else "against"


def _line(console: Console, line: Text) -> None:
    _print_wrapped(console, line, indent=3)


def _print_wrapped(console: Console, line: Text, indent: int = 0) -> None:
    """Print a line; it is broken for eyes only, so that a program finds it in one."""
    if console.is_terminal:
        console.print(Padding(line, (0, 0, 0, indent)))
    else:
        console.print(Text(" " * indent).append_text(line), soft_wrap=True)
