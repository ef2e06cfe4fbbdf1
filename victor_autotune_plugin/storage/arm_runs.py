"""The runs of experiments by arm, as columns: what a comparison of two plans is made from.

A team of years has a hundred thousand of them, so no object is made of a run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen
from msgspec import Struct
from msgspec.json import Decoder
from sqlalchemy import BigInteger, Select, bindparam, func, literal, null, or_, select, union_all

from .._model.run import CONTROL, TREATMENT
from .session import Statement
from .statement_parts import dialect_of
from .tables import run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Marks = NDArray[np.bool_]
    Places = NDArray[np.int64]

MOST_IDS: Final = 10
"""Experiments that one query asks for: rows and columns of so few stay in the processor's cache."""


class _Used(Struct):
    """What counts of a model's tokens; the rest of their text is skipped."""

    input_tokens: int = 0
    output_tokens: int = 0


_used: Final = Decoder(list[_Used]).decode

_ENDED: Final = (
    run.c.observed.is_not(None),
    run.c.missing.is_(None),
    run.c.duration_seconds.is_not(None),
    run.c.position.is_not(None),
)


@frozen(eq=False)
class ArmRuns:
    """Finished runs of one experiment, in the order in which they were observed; each array has one value a run.

    Runs that were lost or cancelled are left out: what they would have been is not known.

    Attributes:
        started_at: Unix times, seconds.
        treated: Whether the run had the treatment; else it had the control.
        verified: Whether it was observed by the watch over the live plan; else by the test.
        streams: Names of the streams of arms, the texts that `stream` counts.
        stream: Place of the run's stream in `streams`.
        position: Place of the run in its stream, from 0.
        order: Order of its observation.
        durations: Wall-clock seconds.
        succeeded: 1.0 where it succeeded, else 0.0.
        scores: From 0 to 1; NaN without a score.
        costs: US dollars; NaN where no price is known.
        tokens: Prompt and completion tokens of all models; NaN where none were reported.
    """

    started_at: Numbers
    treated: Marks
    verified: Marks
    streams: tuple[str, ...]
    stream: Places
    position: Places
    order: Places
    durations: Numbers
    succeeded: Numbers
    scores: Numbers
    costs: Numbers
    tokens: Numbers

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.started_at)

    def where(self, chosen: Marks | slice) -> ArmRuns:
        """Return some of the runs.

        Args:
            chosen: Whether to keep each run, shape (runs,), or those to keep.
        """
        names = ("started_at", "treated", "verified", "stream", "position", "order")
        figures = ("durations", "succeeded", "scores", "costs", "tokens")
        kept: dict[str, Any] = {name: getattr(self, name)[chosen] for name in (*names, *figures)}
        return ArmRuns(streams=self.streams, **kept)


def arm_queries(experiment_ids: Iterable[str], *, with_tokens: bool = True) -> Iterator[Select[Any]]:
    """Give the queries for the runs of some experiments; those of one experiment follow each other.

    Args:
        experiment_ids: Ids, each once.
        with_tokens: Whether their tokens are asked for, which are a third of the work.
    """
    columns = [
        *(run.c.experiment_id, run.c.started_at, run.c.arm, run.c.phase, run.c.stream, run.c.position, run.c.observed),
        *(run.c.duration_seconds, run.c.success, run.c.score, run.c.cost_usd),
        run.c.tokens if with_tokens else null().label("tokens"),
    ]
    wanted = list(experiment_ids)
    for first in range(0, len(wanted), MOST_IDS):
        ids = wanted[first : first + MOST_IDS]
        wanted_runs = select(*columns).where(run.c.experiment_id.in_(ids), *_ENDED)
        yield wanted_runs.order_by(run.c.experiment_id, run.c.observed)


def live_count_query(experiment_id: str, decided_order: int | None, later_ids: Iterable[str]) -> Select[Any]:
    """Return the query for how many runs that ended the watch over a live plan has seen, by `arm`.

    Args:
        experiment_id: The experiment whose plan is live.
        decided_order: After which order runs of its test are seen, too; None for none.
        later_ids: Tests against that plan, whose control it is.
    """
    seen = run.c.phase == "watch"
    if decided_order is not None:
        seen = or_(seen, run.c.observed > decided_order)
    own = select(run.c.arm).where(run.c.experiment_id == experiment_id, seen, *_ENDED)
    later = select(literal(TREATMENT)).where(  # what is their control is its treatment
        run.c.experiment_id.in_(list(later_ids)), run.c.arm == CONTROL, run.c.phase != "watch", *_ENDED
    )
    both = union_all(own, later).subquery()
    return select(both.c.arm, func.count().label("runs")).group_by(both.c.arm)


@cache
def live_runs(backend: str) -> Statement:
    """Return the query for whether the watch over a live plan has seen so many runs of its own that ended.

    Args:
        backend: `sqlite` or `postgresql`.
    """
    seen = or_(run.c.phase == "watch", run.c.observed > bindparam("after", type_=BigInteger))
    first = select(run.c.run_id).where(run.c.experiment_id == bindparam("of_experiment_id"), seen, *_ENDED)
    last = first.limit(1).offset(bindparam("before"))
    return Statement(last, dialect_of(backend))


def in_columns(rows: list[Any]) -> Mapping[str, ArmRuns]:
    """Return what one of `arm_queries` found, by the id of the experiment."""
    import numpy as np

    if not rows:
        return {}
    ids, started, arms, phases, streams, positions, orders, seconds, good, scores, costs, tokens = zip(
        *rows, strict=True
    )
    names = tuple(dict.fromkeys(name or "" for name in streams))
    place = {name: number for number, name in enumerate(names)}
    whole = ArmRuns(
        started_at=np.array(started, dtype=float),
        treated=np.array([arm == TREATMENT for arm in arms]),
        verified=np.array([phase == "watch" for phase in phases]),
        streams=names,
        stream=np.array([place[name or ""] for name in streams], dtype=np.int64),
        position=np.array(positions, dtype=np.int64),
        order=np.array(orders, dtype=np.int64),
        durations=np.array(seconds, dtype=float),
        succeeded=np.array(good, dtype=float),
        scores=_floats(scores),
        costs=_floats(costs),
        tokens=_floats([None if text is None else _tokens(text) for text in tokens]),
    )
    sizes = Counter(ids)  # in the order of the rows, in which the runs of an experiment follow each other
    ends = np.cumsum(list(sizes.values())).tolist()
    return {one: whole.where(slice(end - size, end)) for (one, size), end in zip(sizes.items(), ends, strict=True)}


def _floats(values: Sequence[float | None]) -> Numbers:
    """Return numbers, NaN for None; where all are None no number is made of each."""
    import numpy as np

    return np.full(len(values), math.nan) if values.count(None) == len(values) else np.array(values, dtype=float)


def _tokens(text: str) -> float:
    """Return the prompt and completion tokens of a run, all models, from the text of its column; NaN without any."""
    return float(sum(one.input_tokens + one.output_tokens for one in _used(text))) or math.nan if text else math.nan
