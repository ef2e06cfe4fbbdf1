"""The loop survives `kill -9` at every point: one terminal action, no run lost or counted twice, same decisions.

A forked child runs the loop and kills itself at a chosen statement of the store; another one goes on from what is left.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin.loop.replay import replay_all
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_plugin.storage.session import Session

from .simulated import SPEC, Simulation, by_formation

SETTINGS: dict[str, Any] = {"experiment.min_history": 2, "watch.max_runs": 60}
POINTS = 210


def whole_story(project: Path) -> None:
    """Run the loop until a promoted plan that turned bad was taken back, wherever the store says it is."""
    team = Simulation(project, seed=len(list(project.iterdir())), **SETTINGS)
    for _ in range(120):
        actions = [change.action for change in team.changes()]
        if "rolled_back" in actions:
            break
        if "promoted" in actions:
            team.truth = lambda plan, members: by_formation(plan, members) * (12 if plan.formation else 1)
        team.run()
    else:
        raise AssertionError(f"the story did not end: {actions}")
    team.close()


def in_child(work: Callable[[], None]) -> int:
    """Run something in a forked child; return its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_at(project: Path, point: int) -> None:
    """Run the story and kill the process right after its n-th statement."""
    left = point

    def counting(original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(self: Session, *args: Any, **kwargs: Any) -> Any:
            nonlocal left
            result = original(self, *args, **kwargs)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted

    for name in ("query", "write", "begin", "commit"):
        setattr(Session, name, counting(getattr(Session, name)))
    whole_story(project)


def statements(project: Path) -> int:
    """Return how many statements the story takes."""
    count = 0
    for name in ("query", "write", "begin", "commit"):
        original = getattr(Session, name)

        def counted(self: Session, *args: Any, _original: Any = original, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            return _original(self, *args, **kwargs)

        setattr(Session, name, counted)
    whole_story(project)
    (project / "count").write_text(str(count))
    return count


def check(project: Path) -> None:
    store = Store.open(default_url(project))
    changes = store.changes(*SPEC.key)
    assert [change.action for change in changes] == ["started", "promoted", "rolled_back"]
    (experiment,) = store.experiments(*SPEC.key)
    assert experiment.status == "rolled_back"
    state = store.team(*SPEC.key)
    assert state is not None
    assert (state.plan, state.experiment_id) == (experiment.control, None)
    records = list(store.runs())
    assert sum(record.status == "lost" for record in records) <= 1
    assert not any(record.status == "running" for record in records)
    finished = {record.run.run_id: record.run for record in records if record.run is not None}
    for phase in ("test", "watch"):
        observed = [one.run_id for one in store.observations(experiment.id, phase)]
        assert len(observed) == len(set(observed))
        assert set(observed) == {name for name, run in finished.items() if run.phase == phase}
        indices = [one.index for one in store.assignments(experiment.id) if one.phase == phase]
        assert indices == list(range(len(indices)))
    (replayed,) = replay_all(store, [experiment])
    assert replayed.same, replayed.differences
    store.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_process_killed_at_any_statement_leaves_a_loop_that_goes_on(tmp_path: Path) -> None:
    first = tmp_path / "whole"
    first.mkdir()
    assert in_child(lambda: statements(first) and None) == 0
    total = int((first / "count").read_text())
    assert total >= POINTS
    check(first)
    killed = 0
    for number in range(POINTS):
        project = tmp_path / str(number)
        project.mkdir()
        point = 1 + number * total // POINTS
        code = in_child(lambda where=project, at=point: killed_at(where, at))  # type: ignore[misc]
        assert code in (0, -signal.SIGKILL)
        killed += code == -signal.SIGKILL
        assert in_child(lambda where=project: whole_story(where)) == 0  # type: ignore[misc]
        check(project)
    # Durations are drawn anew after a kill, so the last points may lie beyond the end of a story.
    assert killed >= 200
