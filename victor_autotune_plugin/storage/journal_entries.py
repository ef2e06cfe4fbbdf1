"""What a journal holds: its entries, and the lines that they are written in.

A line is a newline, a CRC32 of the rest, a number, and an entry as JSON. Entries hold what the store keeps of a run:
neither prompt nor output, nor settings.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NotRequired, TypedDict

from attrs import fields_dict, frozen
from msgspec import Raw, to_builtins
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from .._model.converter import PlainDataError, from_plain, to_plain
from .._model.data_flow import RunFlow
from .._model.plan import TeamPlan, TeamSpec
from .._model.process import ProcessId
from .._model.run import PlannedRun, RunStart, TeamRun
from .._model.score import Gate, Score
from ..errors import StoreError, StoreUnavailableError
from .former_states import SHARE, with_shares

LONGEST_LINE: Final = 4 * 2**20  # an entry of a team of 10,000 members; bounds what reading garbage takes

_VERSION: Final = 1
_MOST_DIGITS: Final = 18
_MOST_TEXTS: Final = 512

_encode: Final = json.JSONEncoder(separators=(",", ":"), default=to_plain).encode  # ASCII: any text survives


class NewerEntryError(Exception):
    """Only a newer version understands the line."""


class JournalError(StoreUnavailableError):
    """The journal can't be used: the disk is full or read-only, or the file system has no locks."""


class JournalFullError(JournalError):
    """The journal has reached its bound; what was to be appended is not in it."""


@frozen
class StartEntry:
    """A run started.

    Attributes:
        start: The run, without metadata and settings.
        planned: Its plan and place in an experiment.
        process: Id of the process that runs it.
    """

    start: RunStart
    planned: PlannedRun
    process: str


@frozen
class EndEntry:
    """A run ended.

    Attributes:
        run: The run.
        grade_seconds: How long to wait for its cost and its data flow, or None when it has them.
        gates: The scorers whose scores make up the score of the run.
        score_seconds: How long to wait for these scores, or None when nothing is awaited.
    """

    run: TeamRun
    grade_seconds: float | None = None
    gates: tuple[Gate, ...] = ()
    score_seconds: float | None = None


@frozen
class PriceEntry:
    """A run that had ended got its price.

    Attributes:
        run_id: The run.
        cost_usd: Cost in US dollars, or None when no price is known.
        is_last: Whether neither its price nor its data flow is awaited any more.
    """

    run_id: str
    cost_usd: float | None = None
    is_last: bool = True


@frozen
class ScoreEntry:
    """A run that had ended got a score.

    Attributes:
        score: The score.
    """

    score: Score


@frozen
class FlowEntry:
    """It was found out who used whose work in a run that had ended.

    Attributes:
        run_id: The run.
        flow: Its data flow, or None when it could not be found out.
        is_last: Whether nothing else of the run is awaited.
    """

    run_id: str
    flow: RunFlow | None
    is_last: bool = True


Entry = StartEntry | EndEntry | PriceEntry | FlowEntry | ScoreEntry
"""What a line of a journal says."""


def run_of(entry: Entry) -> str:
    """Return the id of the run that an entry is about.

    A writer that takes entries of several runs in the order of these never waits for one that waits for it.
    """
    if isinstance(entry, StartEntry):
        return entry.start.run_id
    if isinstance(entry, EndEntry):
        return entry.run.run_id
    return entry.score.run_id if isinstance(entry, ScoreEntry) else entry.run_id


def _plain(entry: Entry) -> dict[str, Any]:
    if isinstance(entry, StartEntry):
        start = {name: to_plain(getattr(entry.start, name)) for name in _STORED_OF_START}
        return {"kind": "start", "start": start, "planned": to_plain(entry.planned), "process": entry.process}
    if isinstance(entry, EndEntry):
        run = _plain_run(entry.run)
        del run["number"]  # the store gives it
        return {
            "kind": "end",
            "run": run,
            "grade_seconds": entry.grade_seconds,
            "gates": to_plain(entry.gates),
            "score_seconds": entry.score_seconds,
        }
    kind = {FlowEntry: "flow", PriceEntry: "price", ScoreEntry: "score"}[type(entry)]
    return {"kind": kind, **to_plain(entry)}


def _plain_run(run: TeamRun) -> dict[str, Any]:
    try:
        data: dict[str, Any] = to_builtins(run)  # a sixth of the time; but it names the knobs that are not set, too
    except TypeError:  # a number of a library's own type
        return dict(to_plain(run))
    return {**data, **{name: to_plain(getattr(run, name)) for name in ("spec", "plan_asked", "plan_used")}}


_STORED_OF_RUN: Final = tuple(name for name in fields_dict(TeamRun) if name != "number")  # the store gives it
_STORED_OF_START: Final[dict[str, Any]] = {
    "run_id": str,
    "spec": TeamSpec,
    "started_at": float,
    "entry": str,
    "parent_id": str | None,
    "task_key": str | None,
    "environment": NotRequired[str],  # lines that version 0.2.0 or an earlier one wrote have neither of these
    "owners": NotRequired[dict[str, str]],
}
_START_LINE: Final = TypedDict(  # an attrs class takes a millisecond of a cold start to make
    "_START_LINE",
    {"start": TypedDict("_STORED", _STORED_OF_START), "planned": PlannedRun, "process": str},  # type: ignore[misc]
)


def _start(data: Any) -> StartEntry:
    line: Any = from_plain(_START_LINE, data)
    return StartEntry(RunStart(**line["start"]), line["planned"], line["process"])


def _end(data: Any) -> EndEntry:
    run = data["run"]
    return from_plain(EndEntry, {**data, "run": run if SHARE in run else with_shares(run)})


_READERS: Final[dict[str, Callable[[Any], Entry]]] = {
    "start": _start,
    "end": _end,
    "price": lambda data: from_plain(PriceEntry, data),
    "flow": lambda data: from_plain(FlowEntry, data),
    "score": lambda data: from_plain(ScoreEntry, data),
}


def encode(entry: Entry) -> bytes:
    """Return an entry as the text of a line.

    Raises:
        StoreError: It has a value that could not be read again.
    """
    quick = _quickly(entry)
    return _slowly(entry) if quick is None else quick


def _quickly(entry: Entry) -> bytes | None:
    """Return the text of the start or the end of a run in a third of the time; None where it takes the long way.

    That is text that is not valid, a number of a library's own type, and whatever could not be read again. NaN in place
    of a figure that may be unknown is unknown.
    """
    line: dict[str, Any]
    try:
        if isinstance(entry, EndEntry):
            run: dict[str, Any] = {name: getattr(entry.run, name) for name in _STORED_OF_RUN}
            run |= {name: _text(run[name]) for name in ("spec", "plan_asked", "plan_used")}
            seconds = {"grade_seconds": entry.grade_seconds, "score_seconds": entry.score_seconds}
            text = to_json({"kind": "end", "run": run, "gates": entry.gates, **seconds})
            from_json(text, type=EndEntry)
        elif isinstance(entry, StartEntry):
            start = {name: getattr(entry.start, name) for name in _STORED_OF_START}
            start["spec"] = _text(entry.start.spec)
            planned = {name: getattr(entry.planned, name) for name in fields_dict(PlannedRun)}
            planned["plan"] = _text(entry.planned.plan)
            line = {"kind": "start", "start": start, "planned": planned, "process": entry.process}
            text = to_json(line)
            from_json(text, type=_START_LINE)
        else:
            return None
    except (TypeError, ValueError, RecursionError):
        return None
    return text if len(text) < LONGEST_LINE else None


@lru_cache(maxsize=_MOST_TEXTS)
def _text(value: TeamSpec | TeamPlan) -> Raw:
    """Return a definition or a plan as text; remembered, since the runs of a team share a few."""
    return Raw(_encode(value).encode())


def _slowly(entry: Entry) -> bytes:
    try:
        data = _plain(entry)
        _READERS[data["kind"]](data)
        text = _encode(data)
    except (PlainDataError, TypeError, ValueError, RecursionError) as error:
        if isinstance(entry, ScoreEntry):  # what a scorer returned may be text of an output
            raise StoreError("a score can't be journaled: it has an impossible value") from None
        raise StoreError(f"a run can't be journaled: {error}") from error
    if len(text) >= LONGEST_LINE:
        raise StoreError(f"a run can't be journaled: it takes {len(text)} bytes, more than {LONGEST_LINE}")
    return text.encode()


def first_text(process: ProcessId) -> bytes:
    """Return the text of the first line of a process's journal."""
    return _encode({"kind": "journal", "version": _VERSION, "process": to_plain(process)}).encode()


def decode(text: bytes) -> Entry | ProcessId:
    """Return what the text of a line says: an entry, or in the first line whose journal it is.

    Raises:
        NewerEntryError: It is of another format, or of another kind.
        ValueError: It has impossible values.
    """
    try:
        data = json.loads(text)
        kind = data["kind"]
        if kind == "journal":
            if data["version"] != _VERSION:
                raise NewerEntryError
            return from_plain(ProcessId, data["process"])
        if kind not in _READERS:
            raise NewerEntryError
        return _READERS[kind](data)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def line_of(number: int, text: bytes) -> bytes:
    """Return a line, the newline before it included."""
    rest = b"%d %b" % (number, text)
    return b"\n%08x %b" % (zlib.crc32(rest), rest)


def checked(line: bytes | None) -> tuple[int, bytes]:
    """Return number and text of a line; -1 when it is damaged."""
    checksum, _, rest = (line or b"").partition(b" ")
    number, _, text = rest.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(rest) or not number.isdigit() or len(number) > _MOST_DIGITS:
        return -1, b""
    return int(number), text
