"""`watch` where there is no terminal: a line for each team, then one whenever something of it changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .._model.text import clean
from . import rendering as show
from .watch_text import row_line

if TYPE_CHECKING:
    from .._model.experiment import Change
    from .._page.board import Board
    from .._page.run_index import TeamKey


class LineFollower:
    """Tells what changed since the last look, line by line.

    Args:
        board: What is looked at.
        wanted: Whether a team is shown, as the board has it.
        as_json: Whether each line is a JSON object: `{"team": …}`, or `{"change": …}` for a line of a history.
    """

    def __init__(
        self, board: Board, wanted: Callable[[TeamKey], bool] = lambda _: True, *, as_json: bool = False
    ) -> None:
        self._board = board
        self._wanted = wanted
        self._as_json = as_json
        self._version = 0
        self._last_change: int | None = None

    def look(self, budget_seconds: float = 5.0) -> Iterator[str]:
        """Yield a line for each team of which something changed; the lines of histories come first.

        Args:
            budget_seconds: As of `Board.refresh`; teams that are not ready then come with the next look.

        Raises:
            StoreError: If the store can't be used.
        """
        self._board.refresh(budget_seconds)
        yield from self._changes()
        overview = self._board.overview(self._version)
        for row in overview["teams"]:
            if row["ready"]:
                shown = {name: value for name, value in row.items() if name not in ("version", "ready", "spark")}
                yield json.dumps({"team": shown}) if self._as_json else row_line(row)
        if overview["whole"]:
            self._version = overview["version"]

    def _changes(self) -> Iterator[str]:
        store = self._board.store
        if store is None:
            return
        found = [one for one in store.changes() if self._wanted((one.workflow, one.team_id))]
        last = max((one.id or 0 for one in found), default=0)
        if self._last_change is not None:
            for one in found:
                if (one.id or 0) > self._last_change:
                    yield self._told(one)
        self._last_change = last

    def _told(self, one: Change) -> str:
        if self._as_json:
            told: dict[str, Any] = {"change": one.to_dict()}
            return json.dumps(told)
        return clean(f"{one.workflow}/{one.team_id}: {show.step(one)}")
