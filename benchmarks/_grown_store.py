"""Makes the store of a project of years: many teams of unequal size, some of them tuned, written in bulk.

A few teams are played by the real loop, in the states that people meet. Every other team is a copy of one of them under
a name of its own, with further runs. The rows are the product's; only ids, times and durations are drawn.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen

from victor_autotune_plugin._model.assignment import assign, shares_of_stream
from victor_autotune_plugin._model.experiment import Change, Experiment, TeamState
from victor_autotune_plugin._model.plan import TeamSpec
from victor_autotune_plugin._model.score import Score
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_plugin.storage.rows import change_values, experiment_values, run_values, score_values, team_values
from victor_autotune_testing.page_scenes import DOCS, ETL, RESEARCH, REVIEW, TRIAGE, fill

Row = dict[str, Any]

DAY: Final = 86_400.0
MOST_RUNS: Final = 20_000
"""Runs of the largest teams."""

YEARS: Final = 400 * DAY
"""Over so long the runs of a large team are spread."""

GAP: Final = 3_000.0
"""Mean seconds between two runs of a team that is not too large for it."""

SHARES: Final = (("proven", REVIEW, 0.05), ("rolled back", DOCS, 0.03), ("in a test", RESEARCH, 0.02),
                 ("asks", TRIAGE, 0.02), ("observed", ETL, 1.0))  # fmt: skip
"""What the teams are: those that the shares before leave are observed."""

SCORED: Final = 20
"""One in so many observed teams has a score for every run."""

SETTINGS: Final = "mode: observe\n"


@frozen
class Played:
    """A team that the loop played: all that the store holds of it.

    Attributes:
        spec: Its definition.
        state: Its state; None where nothing was saved.
        experiments: Its experiments.
        changes: Its history.
        runs: The rows of its runs, oldest first.
        lease: Its row of who judges it.
        extra: The rows of the runs that further ones are drawn like, oldest first.
        watched: The experiment whose watch further runs belong to; None for runs before the first one.
    """

    spec: TeamSpec
    state: TeamState | None
    experiments: Sequence[Experiment]
    changes: Sequence[Change]
    runs: Sequence[Row]
    lease: Row | None
    extra: Sequence[Row]
    watched: Experiment | None


def grow(folder: Path, teams: int, runs: int, seed: int = 1) -> dict[str, int]:
    """Fill a project with many teams of years; return how many teams there are of each kind.

    Args:
        folder: The project, an empty folder.
        teams: Number of teams.
        runs: About so many runs of all of them together.
        seed: Seed of sizes, ids and durations.
    """
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as scenes:
        fill(Path(scenes))
        with Store.open(default_url(Path(scenes))) as store:
            file = str(store.url).partition("sqlite:///")[2]
            played = {kind: _played(store, file, spec) for kind, spec, _ in SHARES}
    (folder / ".victor").mkdir(parents=True, exist_ok=True)
    (folder / ".victor" / "autotune.yaml").write_text(SETTINGS, encoding="utf-8")
    with Store.open(default_url(folder)) as store:
        file = str(store.url).partition("sqlite:///")[2]
    kinds = list(_kinds(teams))
    rng.shuffle(kinds)
    sizes = _sizes(rng, teams, runs)
    database = sqlite3.connect(file)
    for pragma in ("synchronous = OFF", "cache_size = -600000", "journal_mode = MEMORY"):
        database.execute(f"PRAGMA {pragma}")
    try:
        for number, (kind, size) in enumerate(zip(kinds, sizes, strict=True)):
            for table, rows in _copy(rng, played[kind], number, size):
                _insert(database, table, rows)
            if number % 100 == 99:
                database.commit()
                print(f"{number + 1:,} teams written", file=sys.stderr)
        database.execute("UPDATE autotune_store SET revision = ?", (teams + 1,))
        database.commit()
        database.execute("PRAGMA journal_mode = WAL")
    finally:
        database.close()
    return dict(Counter(kinds))


def _kinds(teams: int) -> Iterator[str]:
    left = teams
    for kind, _, share in SHARES:
        number = min(left, max(1, round(share * teams)))
        left -= number
        yield from [kind] * number


def _sizes(rng: random.Random, teams: int, runs: int) -> list[int]:
    """Return how many runs each team has: skewed, as teams are, with a hundredth of them at the most."""
    drawn = [rng.lognormvariate(0, 1.2) for _ in range(teams)]
    most = MOST_RUNS * min(1.0, runs / (1_000 * teams))
    scale = runs / sum(drawn)
    for _ in range(20):  # what the largest may not have, the others get
        sizes = [min(most, scale * one) for one in drawn]
        scale *= runs / sum(sizes)
    return [max(1, round(one)) for one in sizes]


def _played(store: Store, file: str, spec: TeamSpec) -> Played:
    state = store.team(*spec.key)
    live = None if state is None or state.live_id is None else store.experiment(state.live_id)
    with sqlite3.connect(file) as database:
        database.row_factory = sqlite3.Row
        of = "WHERE workflow = ? AND team_id = ?"
        rows = [
            dict(row)
            for row in database.execute(f"SELECT * FROM autotune_run {of} ORDER BY started_at, run_id", spec.key)
        ]
        leases = [dict(row) for row in database.execute(f"SELECT * FROM autotune_lease {of}", spec.key)]
    database.close()
    # The columns of a run that the store itself adds stay as the loop left them; all others are made once more.
    given = ("number", "observed", "missing", "grade_until", "score_until", "phase", "status")
    found = {run.run_id: evolve(run, task_key=None) for run in store.runs(*spec.key)}
    made = [{**row, **run_values(found[row["run_id"]], None), **{n: row[n] for n in given}} for row in rows]
    extra = [row for row in made if row["phase"] == "watch" and row["missing"] is None] if live is not None else []
    configured = [row for row in made if row["arm"] is None and row["status"] == "finished"]
    return Played(
        spec,
        state,
        store.experiments(*spec.key),
        store.changes(*spec.key),
        made,
        leases[0] if leases else None,
        extra or configured,
        live if extra else None,
    )


def _copy(rng: random.Random, one: Played, number: int, size: int) -> Iterator[tuple[str, list[Row]]]:
    """Give the rows of a copy of a played team, by table."""
    name = f"{number:04d}"
    names = {"workflow": f"{one.spec.workflow}-{name}", "team_id": f"{one.spec.team_id}-{name}"}
    ids = {old.id: uuid.UUID(int=rng.getrandbits(128)).hex for old in one.experiments}
    played = one.runs if one.experiments else ()
    more = max(0, size - len(played))
    gap = min(GAP, YEARS / max(more, 1))
    # Further runs of a live plan come behind all others, so what is there moves back; else they come before.
    back, ahead = (0.0, more) if one.watched is None else (more * gap, 0)
    begin = one.runs[0]["started_at"] - more * gap if one.watched is None else one.runs[-1]["started_at"] - back
    yield "autotune_team", [_team(one.state, names, ids, back) | {"revision": number + 1}] if one.state else []
    yield "autotune_experiment", [_experiment(old, names, ids, back, ahead) for old in one.experiments]
    changes = [evolve(old, **names, experiment_id=ids.get(old.experiment_id or "")) for old in one.changes]
    yield "autotune_change", [change_values(evolve(new, at=new.at - back)) for new in changes]
    moved = {"number": ahead, "observed": ahead, "started_at": -back}
    runs = [{**row, **{column: _plus(row[column], by) for column, by in moved.items()}} for row in played]
    runs += _further(rng, one, more, gap, begin)
    spec = json.dumps(_renamed(one.spec, names).to_dict(), separators=(",", ":"))
    is_scored = not one.experiments and number % SCORED == 0
    scores = []
    for row in runs:
        row |= {**names, "run_id": _id(rng), "spec": spec, "experiment_id": ids.get(row["experiment_id"] or "")}
        row["trace_id"] = _id(rng) if row["trace_id"] else None
        if is_scored and row["status"] == "finished":
            row["score"] = round(rng.betavariate(8, 2), 3)
            at = row["started_at"] + row["duration_seconds"]
            scores.append(score_values(Score(row["run_id"], "tests", row["score"], "command", at)))
    yield "autotune_run", runs
    yield "autotune_score", scores
    judged = max((row["number"] or 0 for row in runs), default=0)
    yield "autotune_lease", [{**one.lease, **names, "judged": judged}] if one.lease else []


def _id(rng: random.Random) -> str:
    return f"{rng.getrandbits(128):032x}"


def _team(state: TeamState, names: Mapping[str, str], ids: Mapping[str, str], back: float) -> Row:
    of_tests = {"experiment_id": ids.get(state.experiment_id or ""), "live_id": ids.get(state.live_id or "")}
    spec, updated = _renamed(state.spec, names), state.updated_at - back
    return team_values(evolve(state, **names, **of_tests, spec=spec, updated_at=updated))


def _experiment(old: Experiment, names: Mapping[str, str], ids: Mapping[str, str], back: float, ahead: int) -> Row:
    others = {"control_id": ids.get(old.control_id or ""), "proven_by": ids.get(old.proven_by or "")}
    row = experiment_values(evolve(old, **names, **others, id=ids[old.id]))
    times = ("created_at", "decided_at", "promoted_at", "ended_at")
    return {
        **row,
        **{name: _plus(row[name], -back) for name in times},
        "decided_order": _plus(old.decided_order, ahead),
    }


def _renamed(spec: TeamSpec | None, names: Mapping[str, str]) -> Any:
    return None if spec is None else evolve(spec, **names)


def _plus(value: Any, more: float) -> Any:
    return None if value is None else value + more


def _further(rng: random.Random, one: Played, more: int, gap: float, begin: float) -> Iterator[Row]:
    """Give further runs of a team, oldest first: of its watch, or before all others."""
    last = max((row["number"] or 0 for row in one.runs), default=0) if one.watched is not None else 0
    arms: dict[str, list[Row]] = {}
    for row in one.extra:
        arms.setdefault(row["arm"] or "", []).append(row)
    place, stream, seed, shares = 0, "", "", None
    if one.watched is not None:
        streams = Counter(row["stream"] for row in one.extra)
        stream = streams.most_common(1)[0][0]
        place = 1 + max(row["position"] for row in one.extra if row["stream"] == stream)
        seed, shares = f"{one.watched.seed}:watch", shares_of_stream(stream, one.watched.watch_policy.holdback)
    for number in range(more):
        arm = "" if one.watched is None else assign(seed, place + number, shares, stream=stream)
        row = dict(rng.choice(arms[arm]))
        row["started_at"] = begin + (number + 1) * gap * rng.uniform(0.9, 1.0)
        row["duration_seconds"] *= rng.lognormvariate(0, 0.1)
        row["number"] = last + number + 1
        if arm:
            row |= {"position": place + number, "stream": stream, "observed": row["number"]}
        yield row


def _insert(database: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    listed = list(rows)
    if listed:
        columns = list(listed[0])
        places = ", ".join(f":{name}" for name in columns)
        database.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", listed)


if __name__ == "__main__":
    begun = time.perf_counter()
    found = grow(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    size = sum(file.stat().st_size for file in Path(sys.argv[1]).rglob("*") if file.is_file())
    print(json.dumps({"kinds": found, "bytes": size, "seconds": time.perf_counter() - begun, "pid": os.getpid()}))
