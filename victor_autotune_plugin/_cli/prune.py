"""`prune`: old runs go, and the totals of their days stay."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from attrs import asdict, evolve, frozen

from .._model.day_totals import date_of
from ..errors import AutotuneError, StoreBusyError, StoreError, StoreFullError
from . import rendering as show
from .command import ExitCode
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen
from .progress import working
from .project import opened

if TYPE_CHECKING:
    from .._settings.team_settings import RetentionSettings
    from ..storage import Store
    from ..storage.compaction import Compaction
    from ..storage.pruning import PruneBound, PrunedPiece

_PIECE: Final = 200
_SPARE_BYTES: Final = 1_000_000
# So much of a file that holds nothing is given back even if no run goes now: a process may have let runs go before.
_BUSY_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 30.0
_MOST_LISTED: Final = 100


@frozen
class PrunedTeam:
    """What goes, or went, of a team.

    Attributes:
        workflow: Workflow name.
        team_id: Team step id.
        removed: Runs that go.
        bared: Runs of which only what decisions rest on is kept.
        bytes: About how many bytes that frees.
        until: Date of the last of them, in UTC.
        bounds: Which runs may go.
    """

    workflow: str
    team_id: str
    removed: int
    bared: int
    bytes: int
    until: str
    bounds: tuple[PruneBound, ...] = ()

    @property
    def runs(self) -> int:
        """How many runs are meant, of both kinds."""
        return self.removed + self.bared

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {name: value for name, value in asdict(self).items() if name != "bounds"}


def prune(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Prune a store of an earlier version, and don't ask.")] = False,
    as_json: Json = False,
) -> None:
    """Let runs go that the retention settings no longer keep in full.

    The totals of their days stay, and so do experiments, the history, and what
    decisions rest on of each run that a test or a watch counted: they replay as
    before. Processes in which teams run do the same by themselves, and give no
    room back to the disk, as this does at the end.
    """
    with opened(project) as session:
        retention = session.runtime.options().retention
        if session.store is None:
            _told([], retention, None, "", dry_run=dry_run, as_json=as_json)
            return
        keys = [one.key for one in session.named_teams(workflow, chosen(name, team))]
        with working("prune: looking") as tell:
            found = [*_found(session.store, keys, retention, tell)]
        compaction, problem = None, ""
        if not dry_run:
            store = session.runtime.store()
            if not store.identity().may_prune:
                _ask(found, yes=yes, as_json=as_json)
                with store.transaction() as transaction:
                    transaction.allow_pruning()
            if found:
                found, problem = _prune(store, found)
            if not problem and (any(one.runs for one in found) or store.spare_bytes() > _SPARE_BYTES):
                compaction, problem = _compacted(store)
    _told(found, retention, compaction, problem, dry_run=dry_run, as_json=as_json)
    if problem:
        raise typer.Exit(ExitCode.BAD)


def _found(
    store: Store, keys: Iterable[tuple[str, str]], retention: RetentionSettings, tell: Callable[[str], None]
) -> Iterable[PrunedTeam]:
    for key in keys:
        tell(key[1])
        with store.reading() as transaction:
            bounds = transaction.prune_bounds(*key, retention.runs, retention.days)
            one = transaction.prune_forecast(*key, bounds)
        if one.last_at is not None:
            yield PrunedTeam(*key, one.removed, one.bared, one.bytes, date_of(one.last_at), bounds)


def _ask(found: list[PrunedTeam], *, yes: bool, as_json: bool) -> None:
    """Ask before the first pruning of a store that an earlier version made.

    Raises:
        AutotuneError: No person can be asked.
        typer.Exit: The answer is no.
    """
    import click

    if yes:
        return
    hint = "See what would go: victor autotune prune --dry-run. Then add --yes."
    refusal = AutotuneError("an earlier version made this store, so a person must say that runs may go", hint=hint)
    if as_json:
        raise refusal
    _table(found, dry_run=True)
    show.say("An earlier version made this store. Export it first if you want to keep all: victor autotune export")
    try:
        agrees = typer.confirm("Let old runs go, now and from now on?", default=False, err=True)
    except click.Abort as error:
        raise refusal from error
    if not agrees:
        show.say("Nothing was changed.")
        raise typer.Exit(ExitCode.BAD)


def _prune(store: Store, found: list[PrunedTeam]) -> tuple[list[PrunedTeam], str]:
    """Prune the teams; return what really went of those of which something did, and what stopped it."""
    done = dict.fromkeys(found, (0, 0))
    last_at: dict[PrunedTeam, float] = {}
    expected, problem = sum(one.runs for one in found), ""
    with working("prune") as tell:
        try:
            for one in found:
                for bound in one.bounds:
                    for piece in _pieces(store, one, bound):
                        removed, bared = done[one]
                        done[one] = removed + piece.removed, bared + piece.bared
                        if piece.last_at is not None:
                            last_at[one] = max(piece.last_at, last_at.get(one, piece.last_at))
                        tell(f"{sum(map(sum, done.values()))} of {expected} runs")
        except KeyboardInterrupt:
            problem = "Stopped. What went is in the totals; the next victor autotune prune goes on."
        except StoreBusyError:
            problem = "Stopped, since other processes write all the time. The next victor autotune prune goes on."
        except StoreError as error:
            if not last_at:
                raise
            problem = f"Stopped: {error.message}. What went is in the totals. {error.hint or ''}".rstrip()
    went = [
        evolve(
            one,
            removed=removed,
            bared=bared,
            bytes=round(one.bytes * (removed + bared) / one.runs),
            until=date_of(last_at[one]),
        )
        for one, (removed, bared) in done.items()
        if one in last_at
    ]
    return went, problem


def _pieces(store: Store, team: PrunedTeam, bound: PruneBound) -> Iterable[PrunedPiece]:
    after, patience = 0, time.monotonic() + _PATIENCE_SECONDS
    most, is_tight = _PIECE, False
    while True:
        begun = time.monotonic()
        try:
            with store.transaction() as transaction:
                piece = transaction.prune(team.workflow, team.team_id, bound, after, most)
        except StoreFullError:  # what goes is written into the log first, which may be as large as SQLite lets it be
            if most == 1:
                raise
            most, is_tight = max(1, most // 4), True
            store.write_back()
            continue
        except StoreBusyError:
            if time.monotonic() > patience:
                raise
            time.sleep(_BUSY_SECONDS)
            continue
        yield piece
        if piece.is_over:
            return
        if is_tight:
            store.write_back()
        # Hosts write as often as it does, and SQLite's log is written back, which needs a moment without a writer.
        time.sleep(min(time.monotonic() - begun, _LONGEST_PAUSE_SECONDS))
        after, patience = piece.last, time.monotonic() + _PATIENCE_SECONDS


def _compacted(store: Store) -> tuple[Compaction | None, str]:
    with working("prune: giving room back"):
        try:
            return store.compact(), ""
        except KeyboardInterrupt:  # the runs went, and that is told
            return None, "Stopped before the room was given back. New runs use it."
        except StoreBusyError:
            return None, "The store is in use, so its file is as large as before. New runs use the room."
        except StoreError as error:
            hint = f" {error.hint}" if isinstance(error, StoreFullError) and error.hint else ""
            return None, f"No room was given back: {error.message}. New runs use it.{hint}"


def _told(
    found: list[PrunedTeam],
    retention: RetentionSettings,
    compaction: Compaction | None,
    problem: str,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    if as_json:
        file = None if compaction is None else asdict(compaction)
        teams = [one.to_dict() for one in found]
        kept = asdict(retention)
        show.write_json({"dry_run": dry_run, "retention": kept, "teams": teams, "room": file, "problem": problem})
        return
    if found or not problem:
        _table(found, dry_run=dry_run)
    if compaction is not None:
        show.say(f"The store took {_megabytes(compaction.before)} and takes {_megabytes(compaction.after)} now.")
    if problem:
        show.say(problem, "red")


def _table(found: list[PrunedTeam], *, dry_run: bool) -> None:
    if not found:
        show.say("Nothing is to go: all runs are within the retention settings.")
        return
    table = show.table("Workflow", "Team", ">Would go" if dry_run else ">Gone", ">Bare", ">About", "Until")
    largest = sorted(found, key=lambda one: -one.runs)
    for one in largest[:_MOST_LISTED]:
        size = _megabytes(one.bytes)
        table.add_row(
            show.name(one.workflow), show.name(one.team_id), str(one.removed), str(one.bared), size, one.until
        )
    show.out().print(table)
    more = largest[_MOST_LISTED:]
    if more:
        show.say(f"And {show.count(sum(one.runs for one in more), 'run')} of {show.count(len(more), 'team')} more.")
    if any(one.bared for one in found):
        show.say("Bare: a test or a watch counted the run, so what its decision rests on stays.", "dim")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
