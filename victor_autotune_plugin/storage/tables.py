"""The tables, as the newest migration leaves them.

Every name begins with `autotune_`, so the tables may live in a database that holds others. JSON is kept as text,
so that both databases keep it byte for byte. Times are Unix seconds.

A change of a table, or of what is inside a JSON column, needs a migration (`storage/migrations/versions`) and a
new `HEAD`; a test compares the two.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    false,
    text,
)

from .._model.quantities import DEFAULT_ENVIRONMENT

HEAD: Final = "0013"
"""Revision of the newest migration. Revisions are numbers, so a greater one is a newer one."""

VERSION_TABLE: Final = "autotune_alembic_version"
"""Where Alembic keeps the revision of a database."""

metadata: Final = MetaData()

TEAM: Final = ("environment", "workflow", "team_id")
"""The columns that name a team."""

UNTAKEN: Final = (
    "(number IS NULL AND (status = 'finished' "
    "OR (status IN ('lost', 'late') AND arm IS NOT NULL AND process IS NOT NULL)))"
)
"""What a run is that is to be numbered: one that finished, or went missing from an arm. Spelt out, as `AWAITING` is,
so that statements use the partial index on it."""

COMPARED: Final = (
    *("experiment_id", "observed", "phase", "arm", "stream", "position", "missing", "started_at"),
    *("duration_seconds", "success", "score", "cost_usd"),
)
"""What a comparison of two plans asks of each run: its index holds all of it, so that no row of a run is read."""

UNSCORED: Final = "(score_until IS NOT NULL AND number IS NULL)"
"""What a run is that waits for scores."""

JUDGED: Final = "(judge <> '')"
"""What a score is that a model as judge gave."""

AWAITING: Final = (
    "(status IN ('awaits_approval', 'awaits_promotion') "
    "OR (asks_for IS NOT NULL AND status IN ('canary', 'testing', 'probation')))"
)
"""What an experiment is that a person is to answer."""


def _text(name: str, *, optional: bool = False) -> Column[str]:
    return Column(name, Text, nullable=optional)


def _number(name: str, *, optional: bool = False) -> Column[float]:
    return Column(name, Double, nullable=optional)


def _integer(name: str, *, optional: bool = False) -> Column[int]:
    return Column(name, Integer, nullable=optional)


def _count(name: str, *, optional: bool = False, start: str | None = None) -> Column[int]:
    return Column(name, BigInteger, nullable=optional, server_default=None if start is None else text(start))


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _environment() -> Column[str]:
    return Column("environment", Text, nullable=False, server_default=text(f"'{DEFAULT_ENVIRONMENT}'"))


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=text(where))


store_row: Final = Table(
    "autotune_store",
    metadata,
    _text("id"),
    _count("revision"),
    Column("paused", Boolean, nullable=False, server_default=false()),
    Column("may_prune", Boolean, nullable=False, server_default=false()),
    PrimaryKeyConstraint("id", name="pk_autotune_store"),
)
"""One row: which store this is, how often the state of any team was saved, whether all tuning is paused, and whether
old runs may go: in a store that an earlier version made, once a person has said so."""


team: Final = Table(
    "autotune_team",
    metadata,
    _environment(),
    _text("workflow"),
    _text("team_id"),
    _integer("version"),
    _text("plan"),
    _text("fingerprint", optional=True),
    _text("spec", optional=True),
    _text("experiment_id", optional=True),
    _flag("paused"),
    _number("updated_at"),
    _count("revision", start="0"),
    _text("live_id", optional=True),
    _text("gates", optional=True),
    _text("merged", optional=True),
    PrimaryKeyConstraint("environment", "workflow", "team_id", name="pk_autotune_team"),
    Index("ix_autotune_team_revision", "environment", "revision"),
    sqlite_with_rowid=False,
)
"""One row a team: the state that its next run starts from."""

experiment: Final = Table(
    "autotune_experiment",
    metadata,
    _text("id"),
    _text("workflow"),
    _text("team_id"),
    _text("fingerprint"),
    _text("strategy"),
    _text("description"),
    _text("control"),
    _text("treatment"),
    _text("seed"),
    _text("assignment_version"),
    _text("policy"),
    _text("watch_policy"),
    _text("status"),
    _number("created_at"),
    _number("decided_at", optional=True),
    _number("promoted_at", optional=True),
    _number("ended_at", optional=True),
    _text("verdict", optional=True),
    _text("watch_verdict", optional=True),
    _text("code_version"),
    _text("task_effects", optional=True),
    _environment(),
    _text("reference", optional=True),
    _text("prices", optional=True),
    _text("allowed_by", optional=True),
    Column("promotion", Text, nullable=False, server_default=text("'proof'")),
    _text("asks_for", optional=True),
    Column("rounds", Integer, nullable=False, server_default=text("0")),
    _text("proven_by", optional=True),
    _text("control_id", optional=True),
    _text("bad_before", optional=True),
    _text("gates", optional=True),
    _count("decided_order", optional=True),
    PrimaryKeyConstraint("id", name="pk_autotune_experiment"),
    Index("ix_autotune_experiment_team", "workflow", "team_id", "created_at", "id"),
    _partial("ix_autotune_experiment_awaiting", "environment", "created_at", "id", where=AWAITING),
    _partial("ix_autotune_experiment_control", "control_id", where="control_id IS NOT NULL"),
)

run: Final = Table(
    "autotune_run",
    metadata,
    _text("run_id"),
    _text("workflow"),
    _text("team_id"),
    _text("status"),
    _number("started_at"),
    _text("spec"),
    _text("entry"),
    _text("parent_id", optional=True),
    _text("task_key", optional=True),
    _text("mode"),
    _text("plan_asked"),
    _text("experiment_id", optional=True),
    _text("arm", optional=True),
    _text("phase", optional=True),
    _integer("position", optional=True),
    _number("duration_seconds", optional=True),
    Column("success", Boolean),
    _number("member_success_share", optional=True),
    _text("plan_used", optional=True),
    Column("timed_out", Boolean),
    Column("cancelled", Boolean),
    _text("error_class", optional=True),
    _number("cost_usd", optional=True),
    _text("members", optional=True),
    _text("tokens", optional=True),
    _integer("tool_calls", optional=True),
    _integer("observed", optional=True),
    _text("process", optional=True),
    _text("stream", optional=True),
    _count("number", optional=True),
    _number("grade_until", optional=True),
    _environment(),
    _text("owners", optional=True),
    _text("flow", optional=True),
    _text("missing", optional=True),
    _text("models", optional=True),
    _number("score", optional=True),
    _text("trace_id", optional=True),
    _text("gates", optional=True),
    _number("score_until", optional=True),
    PrimaryKeyConstraint("run_id", name="pk_autotune_run"),
    Index("ix_autotune_run_started", "started_at", "run_id"),
    Index("ix_autotune_run_team", "workflow", "team_id", "started_at", "run_id", "environment"),
    _partial("ix_autotune_run_running", "process", where="status = 'running'"),
    _partial("ix_autotune_run_number", *TEAM, "number", where="number IS NOT NULL", unique=True),
    _partial("ix_autotune_run_untaken", *TEAM, "started_at", "run_id", where=UNTAKEN),
    _partial("ix_autotune_run_unscored", "process", where=UNSCORED),
    _partial("ix_autotune_run_trace", "trace_id", "run_id", where="trace_id IS NOT NULL"),
    _partial("ix_autotune_run_observed", *COMPARED, where="observed IS NOT NULL"),
)
"""One row a run. What is known only at its end is null until then.

`number` is its place among the runs of its team that a judge took, null before; `grade_until` how long a judge waits
for its cost and its data flow, `score_until` how long for the scores of its `gates`. `observed` is the `order` of its
observation, `position` the `index`, `missing` how it went missing for its experiment: it stays what it was when the run
was taken, so that decisions replay.
`process` is null for a run that another store or version wrote. A row of status `OBSERVED` is an observation whose run
this store never saw, or keeps no longer in full: a list of runs leaves it out.
"""

OBSERVED: Final = "observed"
"""Status of a run that is known by its observation alone: another store had it, or it is no longer kept in full."""

day: Final = Table(
    "autotune_day",
    metadata,
    _text("environment"),
    _text("workflow"),
    _text("team_id"),
    _text("date"),
    _number("first_at"),
    _number("last_at"),
    _count("runs"),
    _count("ended"),
    _count("succeeded"),
    _count("timed_out"),
    _count("cancelled"),
    _count("lost"),
    _number("seconds"),
    _text("durations"),
    _count("tool_calls"),
    _count("input_tokens"),
    _count("output_tokens"),
    _number("cost_usd"),
    _count("priced"),
    _number("score"),
    _count("scored"),
    PrimaryKeyConstraint(*TEAM, "date", name="pk_autotune_day"),
)
"""One row a team and day (UTC) of which runs are no longer kept in full: what they were together (`DayTotals`)."""

score: Final = Table(
    "autotune_score",
    metadata,
    _text("run_id"),
    _text("name"),
    _number("value", optional=True),
    _text("source"),
    _number("at"),
    _text("judge"),
    _number("cost_usd", optional=True),
    _number("seconds"),
    _text("why"),
    _text("details", optional=True),
    PrimaryKeyConstraint("run_id", "name", name="pk_autotune_score"),
    Index("ix_autotune_score_at", "at"),
    _partial("ix_autotune_score_judge", "name", "judge", "at", "run_id", where=JUDGED),
)
"""One row a score; a run has one of each name, and may come after them. `value` is null for no opinion."""

process: Final = Table(
    "autotune_process",
    metadata,
    _text("id"),
    _text("host"),
    _integer("pid"),
    _number("started_at"),
    _number("beat_at"),
    Column("drained", Integer, nullable=False, server_default=text("0")),
    Column("ended", Boolean, nullable=False, server_default=false()),
    PrimaryKeyConstraint("id", name="pk_autotune_process"),
)
"""One row a process. `beat_at` is its last sign of life by the database's clock, `drained` the lines of its journal
that are stored."""

stream: Final = Table(
    "autotune_stream",
    metadata,
    _text("experiment_id"),
    _text("phase"),
    _text("name"),
    _count("next_index"),
    _text("process", optional=True),
    PrimaryKeyConstraint("experiment_id", "phase", "name", name="pk_autotune_stream"),
)
"""The streams of arms of an experiment's phase, and which process goes on with each."""

lease: Final = Table(
    "autotune_lease",
    metadata,
    _environment(),
    _text("workflow"),
    _text("team_id"),
    _text("holder"),
    _count("fence"),
    _number("expires_at"),
    _count("judged", start="0"),
    _text("flow", optional=True),
    PrimaryKeyConstraint("environment", "workflow", "team_id", name="pk_autotune_lease"),
)
"""Who judges a team, until when by the database's clock. `fence` counts the holders, `judged` is the number of the last
run that was judged, `flow` the data flow that the runs up to it showed."""

change: Final = Table(
    "autotune_change",
    metadata,
    Column("id", Integer, nullable=False),
    _number("at"),
    _text("workflow"),
    _text("team_id"),
    _text("action"),
    _text("actor"),
    _text("reason"),
    _text("experiment_id", optional=True),
    _text("plan_before"),
    _text("plan_after"),
    _text("rollback_plan", optional=True),
    _number("improvement_percent", optional=True),
    _text("evidence"),
    _environment(),
    _text("by", optional=True),
    PrimaryKeyConstraint("id", name="pk_autotune_change"),
    Index("ix_autotune_change_team", "workflow", "team_id", "id"),
)
"""Append-only."""

outbox: Final = Table(
    "autotune_outbox",
    metadata,
    _integer("number"),
    Column("environment", Text, nullable=False),
    _text("target"),
    _text("id"),
    _number("at"),
    _text("notice"),
    _integer("tries"),
    _number("due_at"),
    _number("sent_at", optional=True),
    PrimaryKeyConstraint("number", name="pk_autotune_outbox"),
    Index("ix_autotune_outbox_notice", "environment", "target", "id", unique=True),
)
"""One row a notice and webhook. One that was sent stays a while, so that it is not written again. Until `due_at`, by
the database's clock, no process takes it: one is sending it, or it failed a moment ago."""

fault: Final = Table(
    "autotune_fault",
    metadata,
    _text("place"),
    _text("error_class"),
    _text("error"),
    _integer("times"),
    _number("first_at"),
    _number("last_at"),
    PrimaryKeyConstraint("place", "error_class", name="pk_autotune_fault"),
)
"""One row a kind of fault; `place` is the fault's `where`, `times` its `count`."""


def for_postgresql() -> None:
    """Have partial indexes partial on PostgreSQL, too; to say so above would load all of its drivers with SQLite's."""
    for table in metadata.tables.values():
        for index in table.indexes:
            index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]
