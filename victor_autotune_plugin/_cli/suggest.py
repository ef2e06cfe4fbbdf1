"""`suggest`: what to change about a team."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .options import (
    HERE,
    ConfigFile,
    Json,
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
)

if TYPE_CHECKING:
    from pathlib import Path

    from .._api.autotuner import PerformanceAutotuner
    from .._model.optimization import OptimizationSuggestion
    from .._tuning.next_test import Advice


def suggest(
    name: TeamName = None,
    metrics: Metrics = None,
    config: ConfigFile = None,
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
    from .._values.files import write_text
    from . import rendering as show
    from .findings import print_suggestion
    from .tuner_screen import print_advice

    asked = Asked(metrics, config, project, workflow, chosen(name, team), max_risk, strategies, skip_bad)
    with asked:
        found = asked.suggestions()
        advised = None
        if metrics is None and config is None and max_risk is None and strategies is None:
            advised = _advice(project, asked.workflow, asked.team_id)
        data = {
            "workflow": asked.workflow,
            "team_id": asked.team_id,
            "suggestions": [one.to_dict() for one in found],
            "tuner": None if advised is None else advised.to_dict(),
        }
        if output is not None:
            write_text(output, show.json_text(data))
        if as_json:
            show.write_json(data)
            return
        show.say(asked.title(found))
        show.blank()
        for number, one in enumerate(found, 1):
            print_suggestion(number, one)
        if advised is not None:
            print_advice(advised)


def _advice(project: Path, workflow: str, team_id: str) -> Advice | None:
    """Return what the tuner says of a recorded team."""
    from .._tuning.next_test import advice
    from .session import opened

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

    Attributes:
        autotuner: Suggests and applies.
        team_id: The team.
        workflow: Its workflow; empty where it is not known.
        runs: How many runs of it there are.
        config: The configuration file, or None.

    Raises:
        AutotuneError: If a file can't be used, or there is no such team.
    """

    def __init__(
        self,
        metrics: Any,
        config: Any,
        project: Any,
        workflow: str | None,
        team_id: str | None,
        max_risk: float | None,
        strategies: str | None,
        skip_bad: bool,
    ) -> None:
        from .._api.autotuner import PerformanceAutotuner

        names = None if strategies is None else [name.strip() for name in strategies.split(",") if name.strip()]
        self.config = config
        self._file = None
        if config is not None:
            from ..configfiles import read_team_config

            self._file = read_team_config(config, team_id, workflow)
            team_id = self._file.team_id if team_id is None else team_id
            workflow = self._file.workflow if workflow is None and metrics is None else workflow
        analyzer, key = self._runs(metrics, project, workflow, team_id, skip_bad=skip_bad)
        self.workflow, self.team_id = key
        if not self.workflow and self._file is not None:
            self.workflow = self._file.workflow or ""
        self.runs = analyzer.teams.get(key, 0)
        self.autotuner: PerformanceAutotuner = PerformanceAutotuner(
            analyzer=analyzer,
            strategies=names,
            project=project,
            workflow=self.workflow or None,
            max_risk=max_risk,
        )

    @staticmethod
    def _runs(metrics: Any, project: Any, workflow: str | None, team_id: str | None, *, skip_bad: bool) -> Any:
        from .session import opened
        from .sources import from_file, from_store

        if metrics is not None:
            source = from_file(metrics, team_id, workflow, skip_bad=skip_bad)
        else:
            with opened(project) as session:
                source = from_store(session, team_id, workflow)
        return source.analyzer, source.one()

    def __enter__(self) -> Asked:
        """Return it, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.autotuner.close()

    def suggestions(self) -> list[OptimizationSuggestion]:
        """Return the suggestions, the best first."""
        config = None if self._file is None else self._file.config
        return self.autotuner.suggest_optimizations(self.team_id, config)

    def title(self, found: list[OptimizationSuggestion]) -> str:
        """Return the line above the suggestions."""
        from . import rendering as show

        where = f" ({self.workflow})" if self.workflow else ""
        runs = show.count(self.runs, "run")
        if not found:
            return f"{self.team_id}{where}: {runs}, and nothing to suggest."
        order = ", the best first" if len(found) > 1 else ""
        return f"{self.team_id}{where}: {runs}, {show.count(len(found), 'suggestion')}{order}:"
