"""What `doctor` checks. No check raises, and none changes anything."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict, frozen

from .._dataflow.verdict import use
from .._host import seams
from .._host.workflows import read_workflows
from .._settings import FILE_NAME, SettingsResolver, victor_dir_name
from .._settings.environment import can_tune, environment_of
from .._settings.trust import TRUST_COMMAND
from .._tuning import runtime as process
from .._tuning.hook_calls import HookStatus
from .._tuning.hookmanager import HookManager
from ..errors import AutotuneError, SettingsError, StoreError, WorkflowError
from ..hookspecs import PROJECT
from ..storage import Store, default_url
from ..storage.location import target_of, without_secrets
from . import rendering as show
from .open_teams import open_teams
from .options import environment
from .owned import owned_knobs
from .permissions import writable_by_others
from .price_source import price_source, price_source_text, unpriced_models
from .project import opened, unknown_in_project, uses_in_spite_of_settings
from .quality_checks import quality_checks
from .trust_command import acting_sources

if TYPE_CHECKING:
    from ..configfiles.discovery import Found

OK: Final = "ok"
WARN: Final = "warn"
BAD: Final = "bad"

FRESH_SECONDS: Final = 24 * 3600
"""A remembered fault that is older is shown, but no longer counted as wrong."""

_LOOKED_AT: Final = 20
"""How many of a team's last runs are searched for other owners of knobs."""

_TESTED: Final = "0.9"
_ENTRY_POINT: Final = "victor_autotune_plugin.plugin:plugin"


@frozen
class Check:
    """What was looked at and found.

    Attributes:
        name: What was looked at.
        status: `ok`, `warn`: worth knowing, or `bad`: something is wrong.
        found: What was found.
        hint: What to do about it, or None.
    """

    name: str
    status: str
    found: str
    hint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; `mend` is what 0.1 called the hint, and goes in 0.3."""
        return asdict(self) | {"mend": self.hint}


def examine(project: Path) -> list[Check]:
    """Look at everything.

    Args:
        project: The project's folder.

    Returns:
        What was found, in the order of the way of a run.
    """
    checks: list[Check] = []
    resolver: list[SettingsResolver] = []
    found: list[Found] = []
    parts: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
        ("Victor", _victor),
        ("plugin", _plugin),
        ("interception", _seams),
        ("settings", lambda: _settings(project, resolver)),
        ("environment", lambda: _environment(resolver)),
        ("workflows", lambda: _workflows(project, resolver, found)),
        ("trust", lambda: _trust(project, resolver[0]) if resolver else iter(())),
        ("permissions", lambda: _permissions(project, resolver)),
        ("store", lambda: _store(project, resolver[0], found) if resolver else _no_store()),
        ("scoring", lambda: _quality(project, resolver[0], found) if resolver else iter(())),
        ("tool budgets", _calibration),
        ("prices", lambda: _prices(resolver[0]) if resolver else iter(())),
        ("hooks", _hooks),
        ("telemetry", _telemetry),
    )
    for name, part in parts:
        try:
            checks.extend(part())
        except Exception as error:
            checks.append(Check(name, BAD, f"could not be looked at: {type(error).__name__}: {error}"))
    return checks


def _victor() -> Iterator[Check]:
    try:
        found = version("victor-ai")
    except PackageNotFoundError:
        yield Check("Victor", BAD, "not installed", "pip install 'victor-ai>=0.9,<1'")
        return
    if found.startswith(f"{_TESTED}."):
        yield Check("Victor", OK, f"victor-ai {found}")
    else:
        hint = "If something is wrong below: pip install 'victor-ai>=0.9,<1'"
        yield Check("Victor", WARN, f"victor-ai {found}; this plugin was tested with {_TESTED}", hint)


def _plugin() -> Iterator[Check]:
    if seams.is_active():
        yield Check("plugin", OK, "loaded by Victor")
    elif any(entry.value == _ENTRY_POINT for entry in entry_points(group="victor.plugins")):
        yield Check("plugin", OK, "installed where Victor looks for plugins")
    else:
        hint = "pip install --force-reinstall victor-autotune-plugin"
        yield Check("plugin", BAD, "its entry point is missing, so Victor does not load it", hint)


def _seams() -> Iterator[Check]:
    served = {seam.name: seam for seam in seams.SEAMS}
    health = seams.health()
    broken = {name: fault for name, fault in health.items() if fault is not None}
    for name, fault in broken.items():
        seam = served[name]
        lost = "no run is intercepted" if seam.required else f"missing: {seam.serves}"
        hint = "pip install -U victor-autotune-plugin, or pip install 'victor-ai>=0.9,<1'"
        yield Check(f"seam {seam.path}", BAD, f"{fault}; {lost}", hint)
    if not broken:
        yield Check("interception", OK, f"all {len(health)} seams of Victor are as they should be")


def _settings(project: Path, resolver: list[SettingsResolver]) -> Iterator[Check]:
    folder = victor_dir_name(os.environ)
    files = [place / folder / FILE_NAME for place in dict.fromkeys((Path.home(), project.absolute()))]
    found = [str(file) for file in files if file.exists()]
    found += sorted(f"env {name}" for name in os.environ if name.startswith("VICTOR_AUTOTUNE_"))
    try:
        overrides = {"environment": environment()}
        resolver.append(SettingsResolver.load(project, overrides=overrides, log=False))
    except SettingsError as error:
        where = "" if error.where is None else f"{error.where}: "
        yield Check(
            "settings", BAD, f"{where}{error.message}", error.hint or "Correct the settings as the message says."
        )
        return
    yield Check("settings", OK, ", ".join(found) if found else f"none found, so defaults apply (file: {files[-1]})")


def _environment_of(resolver: SettingsResolver) -> tuple[str, str]:
    return environment_of(resolver.for_team("", ""), os.environ)


def _environment(resolver: list[SettingsResolver]) -> Iterator[Check]:
    if resolver:
        name, source = _environment_of(resolver[0])
        yield Check("environment", OK, f"{name} (from {source})")
    if not can_tune():
        found = "Windows can't keep files private to one user, so the plugin only observes here, whatever the mode"
        yield Check("system", WARN, found, "Tune on Linux or macOS; the runs of this machine can be exported.")


def _owners(store: Store) -> Iterator[Check]:
    """Warn of teams in whose last runs something else in Victor set a knob that the plugin might tune."""
    for key in sorted({state.key for state in store.teams()}):
        runs = list(store.runs(*key, status="finished", limit=_LOOKED_AT))
        found = owned_knobs(runs)
        if found and runs[0].mode not in ("off", "observe"):
            listed = "; ".join(f"{knob} by {who} in {times} of {len(runs)} runs" for knob, who, times in found)
            hint = "Those runs take part in no test. Leave the knob to one of the two: see docs, Other tuners."
            yield Check(f"owners of {key[1]}", WARN, f"set by others: {listed}", hint)


def _data_flow(store: Store, resolver: SettingsResolver, found: list[Found]) -> Iterator[Check]:
    """Warn of teams that a person calls independent although a member was seen to use another's work."""
    for team_id, edge in uses_in_spite_of_settings(resolver, store, found):
        said = f"the setting dataflow says independent, but a run showed that {use(edge)} ({edge.channel})"
        hint = f"Name it: dataflow_edges: [[{edge.source}, {edge.target}]], or set dataflow: auto."
        yield Check(f"data flow of {team_id}", WARN, said, hint)


def _calibration() -> Iterator[Check]:
    """Warn of Victor's own calibration of tool budgets, which is off by default."""
    from .._host.owners import calibrates_budgets

    if calibrates_budgets():
        found = "Victor calibrates tool budgets, too (tools.tool_budget_calibration_enabled)"
        hint = "Turn that off, or leave tool_budget out of `strategies`; the smaller budget holds meanwhile."
        yield Check("tool budgets", WARN, found, hint)


def _workflows(project: Path, resolver: list[SettingsResolver], searched: list[Found]) -> Iterator[Check]:
    from ..configfiles.discovery import find_teams

    found = find_teams(project, victor_dir_name(os.environ))
    searched.append(found)
    files = show.count(len({team.file for team in found.teams}), "workflow file")
    held = f"{show.count(len(found.teams), 'team')} in {files}" if found.teams else "no team step in a file here"
    yield Check("workflows", OK, held)
    for error in (*found.broken, *_unreadable(project, found)):
        yield Check("broken team", BAD, f"{error.where}: {error.message}", error.hint)
    for note in found.notes:
        yield Check("workflow key", WARN, note)
    if not resolver:
        return
    for unknown in unknown_in_project(resolver[0], project, found):
        yield Check("unknown name", WARN, f"{unknown.where}: {unknown.message}", unknown.hint)
    for retired in resolver[0].retired(found.own):
        yield Check("setting of 0.1", WARN, f"{retired.where}: {retired.message}", retired.hint)


def _unreadable(project: Path, found: Found) -> Iterator[WorkflowError]:
    """Give what keeps Victor from reading workflows whose team steps are sound."""
    told = {error.message for error in found.broken}
    for file in dict.fromkeys(team.file for team in found.teams):
        try:
            faults = [error for errors in read_workflows(project / file).faults.values() for error in errors]
        except WorkflowError as error:
            faults = [error]
        yield from (error for error in faults if error.message not in told)


def _trust(project: Path, resolver: SettingsResolver) -> Iterator[Check]:
    trusted = []
    for source in acting_sources(project, resolver):
        listed = ", ".join(f"{one.path} ({one.where})" for one in source.settings)
        if resolver.trust.trusts(project, source):
            trusted.append(listed)
        else:
            yield Check(f"trust in {source.name}", WARN, f"ignored until you trust it: {listed}", TRUST_COMMAND)
    if trusted:
        yield Check("trust", OK, f"you trust: {'; '.join(trusted)}")
    if resolver.trust.problem is not None:
        hint = f"Put that right, or move it away: mv {resolver.trust.path} {resolver.trust.path}.old"
        yield Check("trust file", WARN, f"{resolver.trust.path} does not count: {resolver.trust.problem}", hint)


def _permissions(project: Path, resolver: list[SettingsResolver]) -> Iterator[Check]:
    users = file = None
    if resolver:
        users = resolver[0].trust.path.parent
        with contextlib.suppress(StoreError):
            file = target_of(resolver[0].database_url or default_url(project)).file
    found = list(writable_by_others(project, users, file))
    for path, who in found:
        hint = f"chmod {'go' if who == 'everybody' else 'g'}-w {shlex.quote(str(path))}"
        yield Check(f"mode of {path.name}", WARN, f"{path} may be written by {who}", hint)
    if not found:
        yield Check("permissions", OK, "only you may write the settings, the store, and what is kept beside them")


def _no_store() -> Iterator[Check]:
    yield Check("store", WARN, "not looked at, since the settings that name it are wrong")


def _store(project: Path, resolver: SettingsResolver, found: list[Found]) -> Iterator[Check]:
    shown = "store"
    try:
        url = resolver.database_url or default_url(project)
        shown = without_secrets(url)
        file = target_of(url).file
        if file is not None and not file.exists():
            yield Check("store", OK, f"{shown}: not there yet; the first run creates it")
            return
        with Store.open(url, look_only=True) as store:
            # Asks for the right to write, and writes nothing.
            with store.transaction():
                pass
            yield from _contents(store, shown, file)
            here = store.of(_environment_of(resolver)[0])
            yield from _old_runs(here, resolver)
            yield from _owners(here)
            yield from _data_flow(here, resolver, found)
            yield from _costs(store, resolver)
        yield from _decisions(project)
    except StoreError as error:
        yield Check("store", BAD, _told(error, shown), error.hint)


def _quality(project: Path, resolver: SettingsResolver, found: list[Found]) -> Iterator[Check]:
    """Tell of scoring; where the store can't be used, another check says so."""
    url = resolver.database_url or default_url(project)
    with contextlib.ExitStack() as stack:
        store = None
        with contextlib.suppress(StoreError):
            file = target_of(url).file
            if file is None or file.exists():
                store = stack.enter_context(Store.open(url, look_only=True)).of(_environment_of(resolver)[0])
        for told in quality_checks(project, resolver, store, found):
            yield Check(*told)


def _decisions(project: Path) -> Iterator[Check]:
    """Tell what awaits a person."""
    with opened(project) as session:
        for team in open_teams(session):
            for decision in (one.decision for one in team.standings):
                if decision is not None:
                    yield Check(f"awaits you: {team.state.team_id}", WARN, decision.question, decision.answers)


def _contents(store: Store, shown: str, file: Path | None) -> Iterator[Check]:
    counts = store.counts()
    size = "" if file is None else f", {file.stat().st_size / 1e6:.1f} MB"
    teams = {state.key for state in store.teams()} | set(store.last_seen())  # as status counts them
    held = f"{show.count(len(teams), 'team')}, {show.count(counts['runs'], 'run')}"
    pruned = store.pruned_runs()
    held += f", and the totals of {show.count(pruned, 'older run')}" if pruned else ""
    yield Check("store", OK, f"{shown}: writable{size}, {held}")
    unrecorded = store.unrecorded_runs()
    lost = counts["runs_lost"] - unrecorded
    if lost:
        yield Check("lost runs", WARN, f"{show.count(lost, 'run')} never finished, since the process died")
    if unrecorded:
        found = f"the end of {show.count(unrecorded, 'run')} was not recorded, though the process ended as it should"
        hint = "Await victor_autotune_plugin.settle() at the end of each event loop; faults below may tell more."
        yield Check("unrecorded runs", WARN, found, hint)
    now = time.time()
    for fault in store.faults():
        fresh = now - fault.last_at < FRESH_SECONDS
        seen = f"{fault.error} ({show.count(fault.count, 'time')}, last {show.when(fault.last_at)})"
        hint = "Runs go on without it. Remove the cause; a day after the last one it no longer counts."
        yield Check(f"fault in {fault.where}", BAD if fresh else WARN, seen, hint if fresh else None)


def _old_runs(store: Store, resolver: SettingsResolver) -> Iterator[Check]:
    """Tell of old runs that stay until a person lets them go, as in a store that an earlier version made."""
    if store.identity().may_prune:
        return
    retention = resolver.for_team("", "").retention
    for key in store.last_seen():
        with store.reading() as transaction:
            bounds = transaction.prune_bounds(*key, retention.runs, retention.days)
            waits = transaction.prune_forecast(*key, bounds).last_at is not None
        if waits:
            found = "an earlier version made this store, so runs beyond the retention settings go once you say so"
            yield Check("old runs", WARN, found, "See which, then let them go: victor autotune prune --dry-run")
            return


def _costs(store: Store, resolver: SettingsResolver) -> Iterator[Check]:
    for model, why in unpriced_models(store, resolver):
        hint = f"Name it under `prices` in {FILE_NAME}, or price such runs with a hook price_team_run."
        yield Check(f"cost of {model or 'a model'}", WARN, f"the cost of its runs is not known: {why}", hint)


def _prices(resolver: SettingsResolver) -> Iterator[Check]:
    missing = resolver.public_prices and price_source(resolver)["public"] is None
    hint = "pip install --force-reinstall genai-prices" if missing else None
    yield Check("prices", WARN if missing else OK, price_source_text(resolver), hint)


def _hooks() -> Iterator[Check]:
    found = tuple(entry_points(group=PROJECT))
    for entry in found:
        yield _hook(entry)
    if not found:
        yield Check("hook packages", OK, "none installed")
    current = process._runtime  # `runtime()` would make one
    for status in () if current is None else current.hooks.status():
        yield hook_check(status)


def hook_check(status: HookStatus) -> Check:
    """Return how a hook of a third party behaves in this process."""
    took = f"last {show.seconds(status.last_seconds)}, longest {show.seconds(status.longest_seconds)}"
    found = [f"{status.state}: {show.count(status.calls, 'call')}, {status.lates} late, {took}"]
    if status.off_seconds:
        found.append(f"off for {show.seconds(status.off_seconds)} more")
    if status.held_seconds:
        found.append(f"kept all threads from working for {show.seconds(status.held_seconds)}")
    name = f"hook {status.hook} of {status.plugin!r}"
    if status.state == "ready" and not status.held_seconds:
        return Check(name, OK, found[0])
    hint = "Make it quicker, or hand its work to a thread of its own; runs go on without it meanwhile."
    return Check(name, WARN, "; ".join(found), hint)


def _hook(entry: EntryPoint) -> Check:
    package = entry.dist.name if entry.dist is not None else entry.value
    try:
        HookManager().register(entry.load(), entry.name)
    except Exception as error:
        hint = f"pip install -U {package}, or pip uninstall {package}"
        return Check(f"hooks {entry.name}", BAD, f"{package}: {type(error).__name__}: {error}", hint)
    return Check(f"hooks {entry.name}", OK, package)


def _telemetry() -> Iterator[Check]:
    from opentelemetry import metrics, trace

    providers = {"traces": trace.get_tracer_provider(), "metrics": metrics.get_meter_provider()}
    for name, provider in providers.items():
        kind = type(provider)
        if kind.__name__.startswith(("Proxy", "_Proxy", "NoOp", "Default")):
            yield Check(name, OK, "no provider is set in this process, so nothing is exported")
        else:
            yield Check(name, OK, f"{kind.__module__}.{kind.__qualname__}")


def _told(error: AutotuneError, shown: str) -> str:
    return f"{error.where or shown}: {error.message}"
