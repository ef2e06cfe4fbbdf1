"""How the rows of runs are written, one by one or many at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Double,
    Integer,
    Text,
    any_,
    bindparam,
    case,
    cast,
    column,
    func,
    or_,
    select,
    update,
)

from .statement_parts import FINISHED, LATE, LOST, NULL, RUNNING, TRUE, names_of
from .tables import TEAM, run, stream

IDENTITY_OF_RUN: Final = {"run_id", *TEAM, "started_at", "process"}
"""What never changes of a run. To set it again all the same would write two indexes again."""

GIVEN_BY_STORE: Final = {"observed", "number", "grade_until", "score_until", "missing"}
"""What the store itself says of a run."""

START_COLUMNS: Final = (
    *("run_id", *TEAM, "status", "started_at", "spec", "entry", "parent_id", "task_key", "mode", "owners"),
    *("plan_asked", "experiment_id", "arm", "phase", "position", "stream", "process"),
)
"""The columns of a run that are known when it starts."""

NEEDED_COLUMNS: Final = tuple(column.name for column in run.columns if not column.nullable)
"""The columns of a run that are never null."""

PLANNED: Final = ("mode", "plan_asked", "experiment_id", "arm", "phase", "position", "stream")
"""Of these, what may change before the team starts."""


PLACE: Final = ("experiment_id", "phase", "position", "arm", "task_key", "stream")
FIGURES: Final = (
    *("duration_seconds", "success", "member_success_share", "score", "cost_usd", "tool_calls", "timed_out", "models"),
)


def on_start(start: Any) -> Any:
    """Return an insert of starts under which a run that is running takes another plan, and another one nothing."""
    return start.on_conflict_do_update(
        index_elements=[run.c.run_id],
        set_={name: start.excluded[name] for name in PLANNED},
        where=run.c.status == RUNNING,
    )


def on_end(finish: Any) -> Any:
    """Return an insert of ends under which a run that had not ended takes its end, and another one nothing."""
    known_at_the_end = [name for name in names_of(run) if name not in IDENTITY_OF_RUN | GIVEN_BY_STORE]
    is_unseen = run.c.observed.is_(None)
    kept = {name: case((is_unseen, finish.excluded[name]), else_=run.c[name]) for name in PLACE} | {
        name: case((or_(is_unseen, run.c.missing.is_not(None)), finish.excluded[name]), else_=run.c[name])
        for name in FIGURES
    }
    return finish.on_conflict_do_update(
        index_elements=[run.c.run_id],
        set_={name: finish.excluded[name] for name in known_at_the_end}
        | kept
        | {
            "status": case((run.c.status == LOST, LATE), else_=finish.excluded.status),
            "grade_until": finish.excluded.grade_until,
            "score_until": case((run.c.status == LOST, NULL), else_=finish.excluded.score_until),
        },
        where=run.c.status.not_in([FINISHED, LATE]),
    )


def _given_rows(name: str, columns: Mapping[str, Any]) -> Any:
    rows = func.json_to_recordset(cast(bindparam(name, type_=Text), JSON))
    found = rows.table_valued(*(column(one, kind) for one, kind in columns.items()))
    return found.render_derived(name=f"given_{name}", with_types=True)


def _patience() -> Any:
    """Return what sets how long a lock is waited for; it is said in the statement, since a pooler may part the two."""
    lock_timeout = func.coalesce(bindparam("lock_timeout", type_=Text), func.current_setting("lock_timeout"))
    return select(func.set_config("lock_timeout", lock_timeout, TRUE)).subquery("patience")


def batch(insert: Any, now: Any) -> Any:
    """Return the statement that writes starts and ends of a `RunBatch`; it says of which runs it wrote the end.

    No run is in two parts of it, since they all see the rows as they were before.
    """
    started = _given_rows("starts", {name: run.c[name].type for name in START_COLUMNS})
    ended_columns = [name for name in names_of(run) if name not in GIVEN_BY_STORE]
    ended = _given_rows("ends", {**{name: run.c[name].type for name in ended_columns}, "grade_seconds": Double()})
    of_end = [*(ended.c[name] for name in ended_columns), now + ended.c.grade_seconds]
    names = ("experiment_id", "phase", "name")
    places = _given_rows("streams", {one: stream.c[one].type for one in (*names, "next_index")})
    begun = insert(run).from_select(list(START_COLUMNS), select(started), include_defaults=False)
    starts = on_start(begun).cte("starts")
    ends = (
        on_end(
            insert(run).from_select(
                [*ended_columns, "grade_until"],
                select(*of_end).select_from(ended.join(_patience(), TRUE)),
                include_defaults=False,
            )
        )
        .returning(run.c.run_id)
        .cte("ends")
    )
    moved = (
        update(stream)
        .where(
            *(stream.c[one] == places.c[one] for one in names),
            stream.c.next_index < places.c.next_index,
        )
        .values(next_index=places.c.next_index)
        .cte("moved")
    )
    return select(ends.c.run_id.label("run_id")).add_cte(starts, moved)


def completion() -> Any:
    """Return the statement that completes runs which had ended before; it says which it completed.

    Each run is looked up by its id: a server that plans for a small table would read all of it, and goes on doing so
    when it has grown.
    """
    parts = _given_rows(
        "parts",
        {
            "run_id": Text(),
            "has_flow": Boolean(),
            "flow": Text(),
            "has_cost": Boolean(),
            "cost_usd": Double(),
            "is_last": Boolean(),
        },
    )
    in_order = select(parts).select_from(parts.join(_patience(), TRUE)).order_by(parts.c.run_id).subquery("in_order")
    known = run.alias("known")
    unjudged = (
        select(known.c.run_id)
        .where(known.c.run_id == in_order.c.run_id, known.c.status.in_([FINISHED, LATE]), known.c.number.is_(None))
        .with_for_update()
        .lateral("unjudged")
    )
    # Locked in their order, as judges do that number them.
    found = select(in_order).select_from(in_order.join(unjudged, TRUE)).cte("found").prefix_with("MATERIALIZED")
    completed = (
        update(run)
        .where(run.c.run_id == found.c.run_id, _is_one_of(select(found.c.run_id)))
        .values(
            flow=case((found.c.has_flow, found.c.flow), else_=run.c.flow),
            cost_usd=case((found.c.has_cost, found.c.cost_usd), else_=run.c.cost_usd),
            grade_until=case((found.c.is_last, NULL), else_=run.c.grade_until),
        )
        .returning(run.c.run_id)
        .cte("completed")
    )
    return select(completed.c.run_id)


def _is_one_of(ids: Any) -> Any:
    """Return whether a run is one of a few, which a server looks up one by one."""
    return run.c.run_id == any_(func.array(ids.scalar_subquery()))


def locking() -> Any:
    """Return the statement that locks many runs, in the order of their ids."""
    ids = func.json_array_elements_text(cast(bindparam("ids", type_=Text), JSON)).column_valued("id")
    return select(run.c.run_id).where(_is_one_of(select(ids))).order_by(run.c.run_id).with_for_update()


def numbering() -> Any:
    """Return the statement that gives many runs their numbers."""
    kinds: dict[str, Any] = {"run_id": Text(), "number": BigInteger(), "order": Integer(), "how": Text()}
    given = _given_rows("numbers", kinds)
    return (
        update(run)
        .where(run.c.run_id == given.c.run_id, _is_one_of(select(given.c.run_id)))
        .values(
            number=given.c.number,
            observed=func.coalesce(run.c.observed, given.c.order),
            missing=case((run.c.observed.is_(None), given.c.how), else_=run.c.missing),
        )
    )
