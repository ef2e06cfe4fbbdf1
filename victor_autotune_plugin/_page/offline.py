"""The report: the dashboard's page as one file, with as much in it as fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .shell import offline_page, script_safe

if TYPE_CHECKING:
    from collections.abc import Callable

    from .board import Board

MOST_BYTES: Final = 10_000_000
"""Size of the file at most."""

_STEP_SECONDS: Final = 0.5
"""So often it tells how far it is while rows are made."""

_LEVELS: Final = (  # runs drawn one by one, runs with their members, tests with their evidence over time, of each team
    (3_000, 300, 8),
    (1_000, 100, 4),
    (300, 30, 2),
    (60, 5, 1),
    (0, 1, 0),
    (0, 0, 0),
)
"""How much of each team is in the file, from most to least."""


def offline_report(board: Board, title: str, tell: Callable[[str], None] = lambda _: None) -> str:
    """Return the report as an HTML document of at most `MOST_BYTES`.

    Where not all fits, every team keeps its figures, tests, data flow and history, and its runs are drawn in groups;
    what stays is the same for all teams.

    Args:
        board: What is known; its rows are made whole first.
        title: Title of the page.
        tell: Is told how far it is, in a few words, again and again.

    Raises:
        StoreError: If the store can't be used.
    """
    tell("reading the runs")
    board.refresh(_STEP_SECONDS)
    while not board.is_whole:
        board.complete(_STEP_SECONDS)
        known = board.overview()
        ready = sum(row["ready"] for row in known["teams"])
        tell(f"looking at {known['runs']:,} runs: {ready:,} of {known['total']:,} teams")
    overview = board.overview()
    head = {"overview": overview, "savings": board.savings()}
    room = MOST_BYTES - 400_000 - len(script_safe(head).encode())
    for level in _levels(len(overview["teams"])):
        parts = _gather(board, overview, *level, room=room, tell=tell)
        if parts is not None:
            break
    else:
        parts = {"teams": "{}", "evidence": "{}", "runs": "{}"}
    return offline_page(title, head, parts)


def _levels(teams: int) -> tuple[tuple[int, int, int], ...]:
    """Return the levels that may fit; what surely does not is not tried."""
    first = 0 if teams <= 8 else 1 if teams <= 30 else 2 if teams <= 90 else 3 if teams <= 300 else 4
    return _LEVELS[first:]


def _gather(
    board: Board,
    overview: dict[str, Any],
    points: int,
    runs: int,
    tests: int,
    *,
    room: int,
    tell: Callable[[str], None],
) -> dict[str, str] | None:
    """Return the teams, the evidence and the runs as JSON; None where they have more bytes than there is room.

    What was gathered of a team is text at once, which takes a tenth of the memory of plain data.
    """
    from .shell import plain_json

    found: dict[str, list[str]] = {"teams": [], "evidence": [], "runs": []}
    for number, row in enumerate(overview["teams"]):
        tell(f"writing team {number + 1:,} of {len(overview['teams']):,}")
        key = row["workflow"], row["team"]
        team = board.team(*key, most=max(points, 1), with_bins=60 if points < 300 else None)
        chosen = board.last_runs(key, max(runs, 1) if runs or points else 0)
        team["last_run"] = next(iter(chosen), None)
        # The key of a team is what the script makes of the two names.
        new = [("teams", plain_json(key), team)]
        new += [("runs", run_id, run) for run_id, run in chosen.items()]
        tested = [one["id"] for one in team["experiments"] if one["verdict"] is not None][:tests]
        new += [("evidence", one, board.evidence(one)) for one in tested]
        for part, name, data in new:
            text = f"{script_safe(name)}:{script_safe(data)}"
            found[part].append(text)
            room -= len(text.encode()) + 1
        if room < 0:
            return None
    return {part: "{" + ",".join(texts) + "}" for part, texts in found.items()}
