"""What `doctor` checks of scoring: what leaves the machine, what is kept, what it costs, and who can't decide."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from . import rendering as show
from .project import known_teams

if TYPE_CHECKING:
    from .._model.experiment import TeamState
    from .._model.scorer_settings import ScorerSettings
    from .._settings import Settings, SettingsResolver
    from ..configfiles.discovery import Found
    from ..storage import Store

Told = tuple[str, str, str, str | None]
"""What was looked at, whether it is `ok` or `warn`, what was found, and what to do about it."""

_LAST_RUNS: Final = 20
_NO_PRICE: Final = "no price"
_HINTS: Final = {
    "rubric": "Rate some runs (victor autotune rate); see how it does: victor autotune judge-check",
    "external": "Give scores: victor autotune rate, or victor autotune score",
}
"""What to do about a scorer that does not decide, by its kind."""


def quality_checks(
    project: Path, resolver: SettingsResolver, store: Store | None, found: list[Found]
) -> Iterator[Told]:
    """Give what there is to say of scoring.

    Args:
        project: The project's folder.
        resolver: Its settings.
        store: Its store; None where nothing was recorded.
        found: Workflow files of the project, whose own settings count, too.

    Raises:
        OSError: The folder of kept outputs can't be read.
    """
    teams = dict(_settings(resolver, store, found))
    yield from _what_leaves(teams)
    yield from _what_is_kept(project, teams)
    if store is None:
        return
    yield from _cost(store, resolver)
    for state in known_teams(store):
        settings = teams.get(state.key)
        if settings is not None and (settings.quality.scorers or state.gates):
            yield from _of_team(store, state, settings)


def _settings(
    resolver: SettingsResolver, store: Store | None, found: list[Found]
) -> Iterator[tuple[tuple[str, str], Settings]]:
    """Give the settings of each team that is known, by workflow and id."""
    from ..errors import SettingsError

    own = {workflow: (metadata, where) for one in found for workflow, metadata, where in one.own}
    keys = {key for one in found for key in one.known}
    keys |= {state.key for state in ([] if store is None else known_teams(store))}
    for key in sorted(keys):
        metadata, where = own.get(key[0], (None, None))
        try:
            plain: Any = None if metadata is None else metadata.plain()
            yield key, resolver.for_team(*key, plain, where)
        except SettingsError:
            continue  # another check tells it


def _what_leaves(teams: dict[tuple[str, str], Settings]) -> Iterator[Told]:
    """Tell which teams' outputs are sent to a model as judge."""
    sent: dict[str, list[str]] = {}
    for (workflow, team_id), settings in teams.items():
        for scorer in settings.quality.scorers:
            if scorer.kind == "rubric":
                sent.setdefault(_model_of(scorer), []).append(f"{team_id} ({workflow})")
    for model, named in sent.items():
        said = f"outputs of {show.listed(named)} are sent to {model} to be judged"
        yield "leaves this machine", "ok", said, None


def _model_of(scorer: ScorerSettings) -> str:
    provider = scorer.provider or "the provider of the run"
    return f"{scorer.model or 'the model of the run'} of {provider} ({scorer.name})"


def _what_is_kept(project: Path, teams: dict[tuple[str, str], Settings]) -> Iterator[Told]:
    """Tell which outputs are kept for a person to rate."""
    from ..storage.kept_outputs import KeptOutputs

    kept = KeptOutputs.of(project)
    longest = max((one.quality.keep_outputs or 0.0 for one in teams.values()), default=0.0)
    try:
        number = kept.count()
    except OSError as error:
        hint = f"Look at it, or move it away: {kept.folder}"
        yield "kept outputs", "warn", f"{kept.folder} can't be used: {error.strerror or error}", hint
        return
    if longest or number:
        until = f", each for at most {show.seconds(longest)} or until it is rated" if longest else ""
        goes = None if longest else "They go when they expire, as the files' times say, or when you rate them."
        yield "kept outputs", "ok", f"{show.count(number, 'output')} in {kept.folder}{until}", goes


def _cost(store: Store, resolver: SettingsResolver) -> Iterator[Told]:
    """Tell what scoring has cost today, and whether that has reached its cap."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    today, cap = store.scorer_cost_since(midnight), resolver.for_team("", "").quality.max_cost_usd_per_day
    if not today:
        return
    said = f"{show.usd(today)} today (UTC), {show.usd(store.scorer_cost_since(time.time() - 7 * 86_400))} in 7 days"
    if today >= cap:
        hint = "Runs get no score by a model until tomorrow; raise quality.max_cost_usd_per_day, or ask fewer samples."
        yield "scoring cost", "warn", f"{said}: the cap of {show.usd(cap)} a day is reached", hint
    else:
        yield "scoring cost", "ok", f"{said}; the cap is {show.usd(cap)} a day", None


def _of_team(store: Store, state: TeamState, settings: Settings) -> Iterator[Told]:
    """Tell which scorers of a team can't decide, and why the last runs have no opinion of theirs."""
    from .._tuning.gates import scorers_now

    kinds = {one.name: one.kind for one in settings.quality.scorers}
    rubrics = {name for name, kind in kinds.items() if kind == "rubric"}
    statuses = {one.name: one for one in scorers_now(store, state, settings)}
    for name in (one.name for one in settings.quality.scorers if one.gates):
        status = statuses.get(name)
        if status is None or status.decides:
            continue
        yield f"scorer {name} of {state.team_id}", "warn", status.why, _HINTS.get(kinds[name])
    unpriced = {
        one.name
        for _, scores in store.team_scores(*state.key, _LAST_RUNS)
        for one in scores
        if one.name in rubrics and one.why == _NO_PRICE
    }
    for name in sorted(unpriced):
        hint = "Name its price under `prices` in autotune.yaml; 0 for a model that costs nothing."
        found = "its model has no price, so it is not asked: the cap on its cost could not be kept"
        yield f"price of judge {name}", "warn", found, hint
