"""`suggest`: what to change about a team."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from rich.text import Text

from . import rendering as show
from .options import (
    HERE,
    RISKS,
    ConfigFile,
    Json,
    Map,
    MaxRisk,
    Metrics,
    Output,
    Project,
    SkipBad,
    Strategies,
    Team,
    TeamName,
    Workflow,
    chosen,
    environment,
)
from .project import from_file, from_store, opened

if TYPE_CHECKING:
    from .._model.experiment import Experiment
    from .._model.optimization import OptimizationSuggestion
    from .._tuning.next_test import Advice

_PRIORITY_STYLES: Final = {"critical": "bold red", "high": "red", "medium": "yellow", "low": ""}


def suggest(
    name: TeamName = None,
    metrics: Metrics = None,
    config: ConfigFile = None,
    mapped: Map = None,
    skip_bad: SkipBad = False,
    max_risk: MaxRisk = None,
    strategies: Strategies = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Suggest changes of a team: what would be changed, what it is expected to bring, and how risky it is.

    Nothing is changed. The expected improvement is drawn from the team's
    own runs where they tell it, and from what such a change usually brings
    where they don't; the interval is wide then. For a recorded team it also
    says what the tuner would test next, unless the suggestions are narrowed.
    """
    asked = Asked(metrics, config, project, workflow, chosen(name, team), max_risk, strategies, skip_bad, mapped)
    with asked:
        found = asked.suggestions()
        advised = None
        if metrics is None and config is None and max_risk is None and strategies is None:
            advised = _advice(project, asked.workflow, asked.team_id)
        data = {
            "workflow": asked.workflow,
            "team_id": asked.team_id,
            "notes": asked.notes,
            "suggestions": [one.to_dict() for one in found],
            "tuner": None if advised is None else advised.to_dict(),
        }
        if metrics is not None:
            data["left_out"] = asked.left_out
        if show.answered(data, output, as_json=as_json, project=project):
            return
        show.say(asked.title(found))
        show.blank()
        for number, one in enumerate(found, 1):
            print_suggestion(number, one)
        if advised is not None:
            from .explain_screen import print_advice

            print_advice(advised)


def _advice(project: Path, workflow: str, team_id: str) -> Advice | None:
    """Return what the tuner says of a recorded team."""
    from .._tuning.next_test import advice

    with opened(project) as session:
        if session.store is None:
            return None
        state = session.team(team_id, workflow)
        return advice(session.store, state, session.runtime.resolver.for_team(*state.key), session.runtime.hooks)


class Asked:
    """What `suggest` and `apply` are asked for: a team, its runs, its config, and who may suggest.

    Args:
        metrics: Metrics file, or None for the project's store.
        config: Configuration file, or None.
        project: The project's folder.
        workflow: Only this workflow.
        team_id: The team, or None for the only one.
        max_risk: Highest risk of a suggestion, or None.
        strategies: Names, separated by commas, or None.
        skip_bad: Whether bad rows of the metrics file are left out.
        mapped: What `--map` says of its columns.

    Attributes:
        autotuner: Suggests and applies.
        team_id: The team.
        workflow: Its workflow; empty where it is not known.
        runs: How many runs of it there are.
        left_out: How many rows of the metrics file were left out, by why.
        config: The configuration file, or None.

    Raises:
        AutotuneError: If a file can't be used, or there is no such team.
    """

    def __init__(
        self,
        metrics: Path | None,
        config: Path | None,
        project: Path,
        workflow: str | None,
        team_id: str | None,
        max_risk: float | None,
        strategies: str | None,
        skip_bad: bool,
        mapped: list[str] | None,
    ) -> None:
        from .._api.autotuner import PerformanceAutotuner

        names = None if strategies is None else [name.strip() for name in strategies.split(",") if name.strip()]
        self.config = config
        self._project = project
        self._file = None
        if config is not None:
            from ..configfiles import read_team_config

            self._file = read_team_config(config, team_id, workflow)
            for note in self._file.notes:
                show.note(note)
            team_id = self._file.team_id if team_id is None else team_id
            workflow = self._file.workflow if workflow is None and metrics is None else workflow
        if metrics is not None:
            source = from_file(metrics, team_id, workflow, skip_bad=skip_bad, mapped=mapped)
        else:
            with opened(project) as session:
                source = from_store(session, team_id, workflow)
        analyzer, key = source.analyzer, source.one()
        self.left_out = source.left_out
        self.workflow, self.team_id = key
        if not self.workflow and self._file is not None:
            self.workflow = self._file.workflow or ""
        self.runs = analyzer.teams.get(key, 0)
        self.autotuner = PerformanceAutotuner(
            analyzer=analyzer,
            strategies=names,
            project=project,
            workflow=self.workflow or None,
            max_risk=max_risk,
            environment=environment(),
        )

    def __enter__(self) -> Self:
        """Return it, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.autotuner.close()

    def open_test(self) -> Experiment | None:
        """Return the test of the team that is open, or None."""
        with opened(self._project) as session:
            store = session.store
            state = None if store is None or not self.workflow else store.team(self.workflow, self.team_id)
            if store is None or state is None or state.experiment_id is None:
                return None
            test = store.experiment(state.experiment_id)
            return test if test is not None and not test.has_ended else None

    @property
    def notes(self) -> list[str]:
        """What a person should know about the configuration file."""
        return [] if self._file is None else list(self._file.notes)

    def suggestions(self) -> list[OptimizationSuggestion]:
        """Return the suggestions, the best first."""
        config = None if self._file is None else self._file.config
        return self.autotuner.suggest_optimizations(self.team_id, config)

    def title(self, found: list[OptimizationSuggestion]) -> str:
        """Return the line above the suggestions."""
        where = f" ({self.workflow})" if self.workflow else ""
        runs = show.count(self.runs, "run")
        if not found:
            return f"{self.team_id}{where}: {runs}, and nothing to suggest."
        order = ", the best first" if len(found) > 1 else ""
        return f"{self.team_id}{where}: {runs}, {show.count(len(found), 'suggestion')}{order}:"


def print_suggestion(number: int, suggestion: OptimizationSuggestion) -> None:
    """Print a suggestion and its number, from 1, with every knob before and after."""
    show.say(Text(f"{number}. ").append(show.clean(suggestion.description), "bold"))
    priority = str(suggestion.priority.value)
    kind = Text(show.clean(suggestion.type)).append(", priority ").append(priority, _PRIORITY_STYLES[priority])
    risk = next((word for word, most in RISKS.items() if suggestion.risk_level <= most), "high")
    show.say(kind.append(f", risk {suggestion.risk_level:.2f} ({risk})"), indent=3)
    show.say(_expectation(suggestion), indent=3)
    now = suggestion.current_config
    if suggestion.suggested_config.get("sub_teams") is not None and "formation" in now:
        now = {**now, "sub_teams": f"{now['formation']}, all together"}
    for knob, after in suggestion.suggested_config.items():
        show.say(f"{knob}: {_value(now.get(knob))} → {_value(after)}", indent=3)
    if suggestion.metadata.needs_person:
        show.say("It loosens a limit, so only a person may allow it.", "yellow", indent=3)
    show.blank()


def _expectation(suggestion: OptimizationSuggestion) -> str:
    ends = suggestion.metadata.interval_percent
    bounds = f" ({show.interval(ends[0] / 100, ends[1] / 100)})" if ends else ""
    metric = suggestion.metadata.metric
    of = "" if not metric else f" of the {str(metric).replace('_', ' ')}"
    gain = show.change(suggestion.expected_improvement / 100)
    return f"Expected improvement{of}: {gain}{bounds}, confidence {suggestion.confidence:.2f}"


def _value(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list | tuple):
        nested = [f"({', '.join(map(str, one))})" if isinstance(one, list | tuple) else str(one) for one in value]
        return ", ".join(nested)
    return f"{value:g}" if isinstance(value, float) else str(value)
