"""The history as JSON Lines: all that a store knows of its teams, to keep elsewhere or to carry to another store.

The first line is a header, `{"victor_autotune": "history", "version": 5}`. Every other line is an object of one key,
the kind of what it holds: a `run`, a `score` of one, a `change`, an `experiment` with all that its verdicts are
replayed from, a `team`, its state, or a `day`: the totals of runs that are no longer kept in full. Version 1 had runs
and changes only; experiments of version 2 had their assignments, too, which nothing rests on any more; up to version 3
they had the states of 0.1, and are read as what those have become; up to version 4 there were neither scores nor
totals, and the share of members that succeeded was called one.
Neither prompt nor output is in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, get_args

from attrs import frozen

from .._model.converter import PlainDataError, check, from_plain
from .._model.day_totals import DayTotals
from .._model.experiment import TAKES_BACK, Change, Experiment, Phase, TeamState
from .._model.policy import Verdict, WatchVerdict
from .._model.quantities import Count, Name
from .._model.run import Observation, TeamRun
from .._model.score import Score
from .._values.reading import integer
from ..errors import AutotuneError
from .former_states import FORMER, FORMER_SHARE, LIVE, SHARE, last_live, renewed, with_shares

if TYPE_CHECKING:
    from . import Store

KIND: Final = "history"
VERSION: Final = 5
READABLE: Final = (1, 2, 3, 4, 5)
"""Versions that can be read."""

_FORMER_STATES: Final = 3
"""Last version whose experiments have the states of 0.1."""

_UNSCORED: Final = 4
"""Last version without scores."""

_WAS_OPEN: Final = "was_open"


class ArchiveError(AutotuneError):
    """A line of an archive can't be used."""


@frozen
class ExperimentRecord:
    """An experiment with all that its verdicts are replayed from.

    Attributes:
        experiment: The experiment.
        observations: Its observations by phase, in their order.
        was_open: Whether it was an open test of 0.1, which has ended by being read.
    """

    experiment: Experiment
    observations: Mapping[Phase, tuple[Observation, ...]]
    was_open: bool = False

    @classmethod
    def stored(cls, store: Store, experiment: Experiment) -> Self:
        """Read what belongs to an experiment from its store.

        Args:
            store: The store.
            experiment: The experiment.

        Raises:
            StoreError: If the store can't be used.
        """
        observations = {phase: tuple(store.observations(experiment.id, phase)) for phase in get_args(Phase)}
        return cls(experiment, observations)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            **self.experiment.to_dict(),
            "observations": [
                {"phase": phase, **one.to_dict()}
                for phase, observations in self.observations.items()
                for one in observations
            ],
        }

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            PlainDataError: At the first field that is not as it should be, or does not fit the others.
        """
        observations = _listed(data, "observations")
        _check_observations(observations)
        return cls(
            from_plain(Experiment, data),
            {
                phase: tuple(from_plain(Observation, one) for one in observations if one["phase"] == phase)
                for phase in get_args(Phase)
            },
            data.get(_WAS_OPEN, False),
        )


def _listed(data: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    if name not in data:
        raise PlainDataError(name, "is missing")
    check(tuple[Mapping[str, Any], ...], data[name], name)
    found: list[Mapping[str, Any]] = data[name]
    return found


def _check_observations(observations: Sequence[Mapping[str, Any]]) -> None:
    runs: set[str] = set()
    for number, one in enumerate(observations):
        here = f"observations[{number}]"
        for name, kind in (("phase", Phase), ("run_id", Name)):
            check(kind, one.get(name), f"{here}.{name}")
        check(Observation, one, here)
        if one["run_id"] in runs:
            raise PlainDataError(f"{here}.run_id", "was observed before")
        runs.add(one["run_id"])


Item = TeamRun | Score | Change | ExperimentRecord | TeamState | DayTotals
"""What a line holds."""

_KINDS: Final[Mapping[str, type[Item]]] = {
    "run": TeamRun,
    "score": Score,
    "change": Change,
    "experiment": ExperimentRecord,
    "team": TeamState,
    "day": DayTotals,
}


def header() -> dict[str, Any]:
    """Return the first line of an archive as plain data."""
    from importlib.metadata import version

    return {"victor_autotune": KIND, "version": VERSION, "written_by": version("victor-autotune-plugin")}


def to_line(item: Item | Mapping[str, Any]) -> str:
    """Return a line of an archive, with its line break.

    Args:
        item: What it holds, or the header.
    """
    if isinstance(item, Mapping):
        data: Mapping[str, Any] = item
    else:
        data = {next(kind for kind, cls in _KINDS.items() if isinstance(item, cls)): item.to_dict()}
    return json.dumps(data, separators=(",", ":"), ensure_ascii=True) + "\n"


def read(lines: Iterable[bytes], name: str, *, bad: list[ArchiveError] | None = None) -> Iterator[Item | None]:
    """Read an archive line by line.

    Args:
        lines: Its lines.
        name: Its name, for errors.
        bad: Takes the errors of lines that can't be used; without it the first one ends the reading.

    Yields:
        What each line holds, None for every line that holds nothing.

    Raises:
        ArchiveError: The header is missing or of another version, or a line can't be used.
    """
    version = 0
    former: _FormerStates | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            yield None
            continue
        if not version:
            version = _version(line, f"{name}:{number}")
            former = _FormerStates() if version <= _FORMER_STATES else None
            yield None
            continue
        try:
            yield _item(line, f"{name}:{number}", version, former)
        except ArchiveError as error:
            if bad is None:
                raise
            bad.append(error)
            yield None
    if not version:
        raise ArchiveError("is empty", where=name, hint="Write one with: victor autotune export --output FILE")


class _FormerStates:
    """Reads experiments and teams of the states of 0.1 as what they have become."""

    def __init__(self) -> None:
        self._at = time.time()
        self._promoted: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}

    def experiment(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the plain data of an experiment, renewed."""
        is_former = data.get("status") in (*FORMER,)
        check(Experiment, {**data, "status": "draft"} if is_former else data)
        after = renewed(data, self._at)
        if after["status"] == "superseded":
            names = ("id", "status", "treatment", "fingerprint", "promoted_at", "created_at")
            self._promoted.setdefault(_team(data), []).append({name: after.get(name) for name in names})
        return {**after, _WAS_OPEN: data["status"] == "running"}

    def team(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the plain data of a team's state, with the id of the experiment that is to verify its plan."""
        live = last_live(self._promoted.get(_team(data), ()), data.get("plan", {}), data.get("fingerprint"))
        return data if live is None else {**data, "live_id": f"{live['id']}{LIVE}"}


def _team(data: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(str(data.get(name)) for name in ("environment", "workflow", "team_id"))


def _version(line: bytes, where: str) -> int:
    hint = "An archive is what victor autotune export writes; metrics files are read with --metrics."
    try:
        data = _json(line, where)
    except ArchiveError as error:
        raise ArchiveError(f"is not an autotune archive: {error.message}", where=where, hint=hint) from error
    if not isinstance(data, dict) or data.get("victor_autotune") != KIND:
        raise ArchiveError("is not an autotune archive", where=where, hint=hint)
    found = data.get("version")
    if isinstance(found, bool) or found not in READABLE:
        raise ArchiveError(
            f"is a history of version {found!r}; this plugin reads the versions {', '.join(map(str, READABLE))}",
            where=f"{where}:version",
            hint="pip install -U victor-autotune-plugin",
        )
    return int(found)


def _item(line: bytes, where: str, version: int, former: _FormerStates | None) -> Item:
    data = _json(line, where)
    if not isinstance(data, dict) or len(data) != 1 or next(iter(data)) not in _KINDS:
        kinds = ", ".join(f'{{"{kind}": …}}' for kind in _KINDS)
        raise ArchiveError(f"must hold one of {kinds}", where=where)
    ((kind, values),) = data.items()
    is_unscored = version <= _UNSCORED and isinstance(values, Mapping)
    try:
        return _read(_KINDS[kind], with_shares(values) if is_unscored else values, former)
    except PlainDataError as error:
        named = error.field or kind
        if is_unscored:
            named = named.replace(SHARE, FORMER_SHARE)
        raise ArchiveError(error.message, where=f"{where}:{named}") from error


def _read(cls: type[Item], values: Any, former: _FormerStates | None) -> Item:
    if former is not None and isinstance(values, Mapping):
        if cls is ExperimentRecord:
            values = former.experiment(values)
        elif cls is TeamState:
            values = former.team(values)
    if cls is ExperimentRecord:
        check(Experiment, values)
        check(Verdict | None, values.get("verdict"), "verdict")
        check(WatchVerdict | None, values.get("watch_verdict"), "watch_verdict")
        return ExperimentRecord.read(values)
    if cls is Change and isinstance(values, Mapping):
        # 0.1.0 called a failed test rejected
        values = {"id": None, **values} | ({"action": "failed"} if values.get("action") == "rejected" else {})
    check(cls, values)
    if cls is Change and TAKES_BACK in values.get("evidence", {}):
        check(tuple[Count, ...], values["evidence"][TAKES_BACK], f"evidence.{TAKES_BACK}")
    return from_plain(cls, values)


def _json(line: bytes, where: str) -> Any:
    try:
        data = json.loads(line, parse_int=integer)
        if b"\\u" in line:
            json.dumps(data, ensure_ascii=False).encode()  # half of a surrogate pair is no text
        return data
    except UnicodeError as error:
        raise ArchiveError("is not UTF-8 text", where=where) from error
    except ValueError as error:
        raise ArchiveError(f"is not JSON: {error}", where=where) from error
    except RecursionError as error:
        raise ArchiveError("is nested too deeply", where=where) from error
