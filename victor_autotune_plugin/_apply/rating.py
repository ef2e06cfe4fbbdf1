"""A score for a run that a person, or another tool, names: which run that is, and its way into the store."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from .._model.score import LONGEST_SCORE_NAME, Gate, Score, ScoreSource, is_score_name
from .._tuning import runtime as process
from .._tuning.late_score import record_score
from .._values.fields import Number
from .._values.names import did_you_mean
from .._values.nodes import Scalar, WrongValueError
from ..errors import AutotuneError

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from .._tuning.runtime import Runtime
    from ..storage import Store

DEFAULT_NAME: Final = "review"
"""What a score is called that has no name of its own."""

FROM_OUTSIDE: Final = ("person", "command", "import")
"""Sources of scores that come from outside of a run's process."""

_SHARE: Final = Number(0, 1)


@frozen
class Rating:
    """A score that was given.

    Attributes:
        run: The run as it is now.
        score: The score.
        before: What it replaced; None for nothing.
        waits_for: Scorers that decide for the run and have not said anything yet.
    """

    run: TeamRun
    score: Score
    before: Score | None = None
    waits_for: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        spec, one = self.run.spec, self.score
        return {
            "run_id": one.run_id,
            "workflow": spec.workflow,
            "team_id": spec.team_id,
            "started_at": self.run.started_at,
            "name": one.name,
            "value": one.value,
            "source": one.source,
            "at": one.at,
            "replaced": None if self.before is None else self.before.value,
            "score": self.run.score,
            "waits_for": list(self.waits_for),
        }


def named_run(store: Store | None, text: str, where: str = "RUN") -> TeamRun:
    """Return the run that a person means.

    Args:
        store: The store; None where nothing was recorded.
        text: Its id, the first characters of it, or the id of its trace.
        where: What the text was given as, for an error.

    Raises:
        AutotuneError: There is none, several are meant, or it has not ended.
    """
    from ..storage.run_scores import LEAST_PREFIX

    found = None if store is None or not text.strip() else store.find_run(text)
    if found is None:
        hint = f"Give at least {LEAST_PREFIX} characters of its id; list the runs: victor autotune history --runs"
        raise AutotuneError(f"no run {text!r} was recorded", where=where, hint=hint)
    if found.status != "finished":
        hint = "Only a run that has ended has something to score."
        raise AutotuneError(f"run {found.run_id} has not ended: it is {found.status}", where=where, hint=hint)
    return found


def checked_value(value: object, where: str) -> float | None:
    """Return the value of a score.

    Args:
        value: A number from 0 to 1, True or False, or None for no opinion.
        where: What it was given as, for an error.

    Raises:
        AutotuneError: It is something else.
    """
    if value is None or isinstance(value, bool):
        return None if value is None else float(value)
    try:
        return _SHARE.read(Scalar(value, where))
    except WrongValueError as wrong:
        raise wrong.told(AutotuneError) from wrong


def checked_name(name: object, where: str) -> str:
    """Return the name of a score.

    Args:
        name: The name.
        where: What it was given as, for an error.

    Raises:
        AutotuneError: It is empty, too long, or no line of text.
    """
    if isinstance(name, str) and is_score_name(name):
        return name.strip()
    hint = f"Write 1 to {LONGEST_SCORE_NAME} characters on a line, such as {DEFAULT_NAME}."
    raise AutotuneError("not a name of a score", where=where, hint=hint)


def check_free(runtime: Runtime, store: Store, run: TeamRun, name: str) -> tuple[Gate, ...]:
    """Make sure that a name may be given to a score from outside, and return what decides for the run's team.

    Args:
        runtime: Settings of the project.
        store: The store.
        run: The run.
        name: What the score is to be called.

    Raises:
        AutotuneError: It is the name of a model as judge.
    """
    state = store.team(*run.spec.key)
    gates = () if state is None else state.gates
    settings = runtime.resolver.for_team(*run.spec.key)
    judges = {one.name for one in settings.quality.scorers if one.kind == "rubric"}
    if name in judges or any(gate.name == name and gate.judge for gate in gates):
        # It would stand in the place of the judge's own, and be compared with nothing.
        hint = "Give it a name of its own, so that the judge can be compared with it."
        raise AutotuneError(f"{name!r} is a model as judge of team {run.spec.team_id!r}", where="name", hint=hint)
    return gates


def rate(
    runtime: Runtime, store: Store, run: TeamRun, value: float | None, name: str, source: ScoreSource, at: float | None
) -> Rating:
    """Write a score of a run into the store.

    Args:
        runtime: Settings and folder of the project.
        store: The store, open for writing.
        run: The run.
        value: From 0 to 1; None for no opinion.
        name: What the score is called.
        source: Where it comes from, one of `FROM_OUTSIDE`.
        at: Unix time, seconds; None, and a time in the future, count as now.

    Returns:
        The score, with what the store has of the run now. An older score leaves a newer one in its place.

    Raises:
        AutotuneError: The source is another one, or the name is that of a model as judge.
        StoreError: The store can't be used.
    """
    if source not in FROM_OUTSIDE:
        raise AutotuneError(f"unknown source {source!r}", where="source", hint=did_you_mean(source, FROM_OUTSIDE))
    gates = check_free(runtime, store, run, name)
    from ..storage.kept_outputs import KeptOutputs

    before = next((one for one in store.scores_of(run.run_id) if one.name == name), None)
    at = min(time.time(), math.inf if at is None else at)  # one of the future would outlast every later one
    given = Score(run.run_id, name, value, source, at)
    now = record_score(store, given, KeptOutputs.of(runtime.project), _loop(runtime.project))
    known = {one.name for one in store.scores_of(run.run_id)}
    waits_for = tuple(gate.name for gate in gates if gate.name not in known)
    return Rating(run if now is None else now, given, before, waits_for)


def _loop(project: Path) -> Any:
    """Return the tuning loop that this process runs teams of the project by; None where it runs none."""
    here = process.made()
    if here is None or not here.has_threads or here.project.resolve() != project.resolve():
        return None
    return here.loop
