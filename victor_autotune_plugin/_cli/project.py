"""What a command works with: a project's settings, its store if there is one, the team that was named, and its runs."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from .._model.experiment import TeamState
from .._model.plan import ADHOC_WORKFLOW, adhoc_team_name, is_called
from .._values.names import did_you_mean
from ..errors import AutotuneError, MetricsError, SettingsError
from . import rendering as show
from .options import environment

if TYPE_CHECKING:
    from .._analysis.run_table import TeamKey
    from .._api.analyzer import PerformanceAnalyzer
    from .._model.data_flow import Edge
    from .._settings import SettingsResolver
    from .._tuning.runtime import Runtime
    from ..configfiles.discovery import Found
    from ..storage import Store

MOST_RUNS: Final = 100_000
"""How many of the newest recorded runs `analyze`, `suggest` and `apply` look at."""

_ANOTHER_FILE: Final = "Name another file, or leave out --metrics to look at what was recorded."


@frozen
class OpenProject:
    """A project, opened for one command.

    Attributes:
        runtime: Its settings, hooks and tuning loop.
        store: Its store, or None while nothing was recorded. A command that only looks must not create one.
    """

    runtime: Runtime
    store: Store | None

    def teams(self, workflow: str | None = None, team_id: str | None = None) -> list[TeamState]:
        """Return the teams that the store knows.

        Args:
            workflow: Only of this workflow.
            team_id: Only with this id; outside workflows, or of this name.

        Raises:
            AutotuneError: If a name is given and there is none such.
        """
        return [self.in_full(state) for state in self.named_teams(workflow, team_id)]

    def in_full(self, state: TeamState) -> TeamState:
        """Return a team with its definition, that of its last run where nothing was ever tuned."""
        return state if self.store is None else _in_full(self.store, state)

    def named_teams(
        self, workflow: str | None = None, team_id: str | None = None, seen: Mapping[TeamKey, float] | None = None
    ) -> list[TeamState]:
        """Return the teams as `teams` does, those that were never tuned without their definition, which takes time.

        Args:
            workflow: As for `teams`.
            team_id: As for `teams`.
            seen: When each team ran last; None to ask the store.
        """
        known = [] if self.store is None else _named_teams(self.store, seen)
        found = [state for state in known if workflow in (None, state.workflow) and is_called(state.key, team_id)]
        if not found and (workflow is not None or team_id is not None):
            raise self._unknown(known, workflow, team_id)
        return found

    def keys(
        self, workflow: str | None = None, team_id: str | None = None, named: Sequence[TeamState] | None = None
    ) -> list[tuple[str | None, str | None]]:
        """Return what to ask the store for, workflow and team id: each team that is named, else one pair for all.

        Args:
            workflow: As for `teams`.
            team_id: As for `teams`.
            named: What `named_teams` gives for these; None to ask it.

        Raises:
            AutotuneError: As in `teams`.
        """
        found = self.named_teams(workflow, team_id) if named is None else named
        return [(workflow, None)] if team_id is None else list(dict.fromkeys(state.key for state in found))

    def team(self, team_id: str | None, workflow: str | None) -> TeamState:
        """Return the one team that is meant.

        Args:
            team_id: Its id, or None when the store knows only one team.
            workflow: Its workflow, needed when several have a team of this id.

        Raises:
            AutotuneError: If there is none, or more than one.
        """
        found = self.teams(workflow, team_id)
        if not found:
            raise self._unknown([], workflow, team_id)
        if len(found) == 1:
            return found[0]
        if team_id is None:
            names = ", ".join(dict.fromkeys(show.clean(state.team_id) for state in found))
            raise AutotuneError("there are several teams", where="TEAM", hint=f"Name one of: {names}.")
        if len({state.workflow for state in found}) == 1:
            ids = " or ".join(show.clean(state.team_id) for state in found)
            raise AutotuneError(f"several teams are called {team_id!r}", where="TEAM", hint=f"Name {ids}.")
        choices = " or ".join(f"--workflow {shlex.quote(show.clean(state.workflow))}" for state in found)
        raise AutotuneError(f"several workflows have a team {team_id!r}", where="TEAM", hint=f"Add {choices}.")

    def _unknown(self, known: list[TeamState], workflow: str | None, team_id: str | None) -> AutotuneError:
        look = "List what was recorded: victor autotune status"
        if not known:
            folder = self.runtime.project.absolute()
            return AutotuneError(
                f"nothing was recorded in {folder} yet",
                where="TEAM" if workflow is None else "--workflow",
                hint="Run a workflow (victor autotune run WORKFLOW.yaml), or name its folder with --project.",
            )
        workflows = [state.workflow for state in known]
        if workflow is not None and workflow not in workflows:
            return AutotuneError(
                f"no workflow {workflow!r} was recorded",
                where="--workflow",
                hint=did_you_mean(workflow, workflows, look),
            )
        teams = [state.team_id for state in known if workflow in (None, state.workflow)]
        whose = "" if workflow is None else f" of workflow {workflow!r}"
        return AutotuneError(
            f"no team {team_id!r}{whose} was recorded", where="TEAM", hint=did_you_mean(team_id or "", teams, look)
        )


def known_teams(store: Store) -> list[TeamState]:
    """Return the teams with a state, and those that were only observed, by workflow and id."""
    return [_in_full(store, state) for state in _named_teams(store)]


def _named_teams(store: Store, seen: Mapping[TeamKey, float] | None = None) -> list[TeamState]:
    states = {state.key: state for state in store.teams()}
    for key in store.last_seen() if seen is None else seen:
        states.setdefault(key, TeamState(*key))
    return [states[key] for key in sorted(states)]


def _in_full(store: Store, state: TeamState) -> TeamState:
    last = store.last_spec(*state.key) if state.spec is None and not state.version else None
    if last is None:
        return state
    spec, environment = last
    return TeamState(*state.key, fingerprint=spec.fingerprint(), spec=spec, environment=environment)


@contextlib.contextmanager
def opened(
    project: Path, overrides: Mapping[str, object] | None = None, *, sends_notices: bool = False
) -> Iterator[OpenProject]:
    """Open a project for the time of a block.

    Args:
        project: Its folder.
        overrides: Settings from options, by dotted key.
        sends_notices: Whether the block may change something that webhooks are told of: it is told at its end.

    Raises:
        SettingsError: If the settings are wrong.
        StoreError: If there is a store that can't be used.
    """
    from .._tuning.runtime import Runtime

    runtime = Runtime(project, overrides={**(overrides or {}), "environment": environment()}, looks_only=True)
    try:
        store = runtime.open_existing_store()
        if store is None:
            yield OpenProject(runtime, None)
            return
        with store:
            yield OpenProject(runtime, store)
            if sends_notices:
                from .._tuning.notice_work import send_within

                send_within(store, runtime.options().notify)
    finally:
        runtime.close()


@frozen
class RunSource:
    """Runs to look at.

    Attributes:
        analyzer: The runs.
        name: Where they are from, for people.
        hint: How to come by runs where there are none.
        keys: The teams that are meant, `(workflow, team_id)`; the workflow of a metrics file may be empty.
    """

    analyzer: PerformanceAnalyzer
    name: str
    hint: str
    keys: tuple[TeamKey, ...]

    @property
    def left_out(self) -> dict[str, int]:
        """How many rows of a metrics file were left out, by why."""
        return {"bad": self.analyzer.skipped, "repeated": self.analyzer.repeated}

    def one(self) -> TeamKey:
        """Return the one team that is meant.

        Raises:
            AutotuneError: If there is none, or more than one.
        """
        if len(self.keys) == 1:
            return self.keys[0]
        if not self.keys:
            raise AutotuneError(f"{self.name} holds no runs", hint=self.hint)
        names = ", ".join(dict.fromkeys(show.clean(key[1]) for key in self.keys[:10]))
        more = f" and {len(self.keys) - 10} more" if len(self.keys) > 10 else ""
        raise AutotuneError("there are several teams", where="TEAM", hint=f"Name one of: {names}{more}.")


def from_file(
    path: Path, team_id: str | None, workflow: str | None, *, skip_bad: bool, mapped: Sequence[str] | None
) -> RunSource:
    """Read a metrics file; on a terminal a remark on stderr tells that a long one is being read.

    Args:
        team_id: Only this team.
        workflow: Only this workflow.
        skip_bad: Whether bad rows are left out; how many is told on stderr.
        mapped: What `--map` says.

    Raises:
        MetricsError: If it can't be used, or holds no run that can.
        AutotuneError: If it holds no such team.
    """
    from .._api.analyzer import PerformanceAnalyzer
    from .._metricfiles.column_names import rules_of
    from .progress import reading

    analyzer = PerformanceAnalyzer()
    with reading(path):
        analyzer.load_metrics_from_file(path, skip_bad=skip_bad, columns=rules_of(mapped or ()))
    if not analyzer.metrics_history:
        raise _without_runs(path, analyzer)
    if analyzer.skipped:
        show.note(f"{show.count(analyzer.skipped, 'bad row')} left out; the first: {analyzer.problems[0]}")
    if analyzer.repeated:
        show.note(f"{show.count(analyzer.repeated, 'row')} left out, whose run_id came before.")
    return RunSource(analyzer, str(path), _ANOTHER_FILE, _named(analyzer, team_id, workflow))


def _without_runs(path: Path, analyzer: PerformanceAnalyzer) -> MetricsError:
    if not analyzer.problems:
        return MetricsError(f"{path} holds no runs", hint=_ANOTHER_FILE)
    first = analyzer.problems[0]
    bad = f"{show.count(analyzer.skipped, 'row')} left out, the first since {first.message}"
    return MetricsError(f"{path} holds no runs that can be used: {bad}", where=first.where, hint=first.hint)


def from_store(session: OpenProject, team_id: str | None, workflow: str | None) -> RunSource:
    """Return the runs that a project recorded: of each team those of its definition as it is now.

    Args:
        team_id: Only this team.
        workflow: Only this workflow.

    Raises:
        AutotuneError: If there is no such team.
        StoreError: If the store can't be read.
    """
    states = session.teams(workflow, team_id)
    from .._api.analyzer import PerformanceAnalyzer
    from .progress import counted

    analyzer = PerformanceAnalyzer()
    if session.store is not None:
        latest = {state.key: state.fingerprint for state in states}
        keys = session.keys(workflow, team_id)
        runs = (run for key in keys for run in session.store.finished_runs(*key, limit=MOST_RUNS))
        read = counted(runs, "reading runs", min(session.store.pulse().runs, MOST_RUNS * len(keys)))
        analyzer.add_runs(run for run in read if latest.get(run.spec.key) in (None, run.spec.fingerprint()))
    hint = "Run a workflow (victor autotune run WORKFLOW.yaml), or give --metrics FILE."
    return RunSource(analyzer, "the store", hint, tuple(sorted(analyzer.teams)))


def _named(analyzer: PerformanceAnalyzer, team_id: str | None, workflow: str | None) -> tuple[TeamKey, ...]:
    found = tuple(key for key in analyzer.teams if workflow in (None, key[0]) and team_id in (None, key[1]))
    if not found and team_id is not None:
        from .._analysis.bottlenecks import team_key

        team_key(analyzer.metrics_history, team_id)  # says which there are
    if not found and workflow is not None:
        raise AutotuneError(f"there is no run of workflow {workflow!r}", where="--workflow")
    return found


def unknown_in_project(resolver: SettingsResolver, project: Path, found: Found) -> list[SettingsError]:
    """Return an error for each workflow, team and member that the settings name and nothing knows.

    The store is asked, for all environments, only if a name is in no file, and is never created. Where it can't be
    read there is no error: a run may have been recorded of any name.

    Args:
        found: The teams of the project's files.
    """
    if found.cut or not resolver.unknown_names(found.known, found.own):
        return []
    known = dict(found.known)
    try:
        with opened(project) as session:
            everywhere = None if session.store is None else session.store.of(None)
            for state in OpenProject(session.runtime, everywhere).teams():
                names = [state.team_id]
                if state.workflow == ADHOC_WORKFLOW:
                    names.append(adhoc_team_name(state.team_id))
                members = () if state.spec is None else state.spec.member_ids
                for key in ((state.workflow, name) for name in names):
                    known[key] = list(dict.fromkeys((*known.get(key, ()), *members)))
    except AutotuneError:
        return []  # what was recorded is not known, and what is wrong there is told elsewhere
    return resolver.unknown_names(known, found.own)


def uses_in_spite_of_settings(
    resolver: SettingsResolver, store: Store, found: Iterable[Found]
) -> Iterator[tuple[str, Edge]]:
    """Give each team that the settings call independent, with a use of a member's work that its runs showed.

    Args:
        found: Workflow files of the project, whose own settings count, too.
    """
    from .._dataflow.flow_facts import contradicted
    from .._dataflow.verdict import knowledge_of

    own = {workflow: (metadata, where) for one in found for workflow, metadata, where in one.own}
    for state in known_teams(store):
        metadata, where = own.get(state.workflow, (None, None))
        with contextlib.suppress(SettingsError):  # another check tells it
            plain: Any = None if metadata is None else metadata.plain()
            settings = resolver.for_team(*state.key, plain, where)
            if state.spec is not None:
                edge = contradicted(knowledge_of(store.data_flow(*state.key), state.spec, settings))
                if edge is not None:
                    yield state.team_id, edge


def unknown_for_file(resolver: SettingsResolver, project: Path, file: Path) -> list[SettingsError]:
    """Return an error for each such name; the project is searched only if one is not in a workflow file.

    Args:
        file: The workflow file.
    """
    from .._settings import victor_dir_name
    from ..configfiles.discovery import Found, find_teams, look_into

    found = Found()
    look_into(found, file, file)
    if not resolver.unknown_names(found.known, found.own):
        return []
    whole = find_teams(project, victor_dir_name(os.environ))
    whole.known.update(found.known)
    whole.own[:] = found.own
    return unknown_in_project(resolver, project, whole)
