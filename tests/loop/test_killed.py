"""The loop survives `kill -9` at every point: one terminal action, no run lost or counted twice, same decisions.

A forked child runs the loop and kills itself at a chosen statement of the store; another one goes on from what is left.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_plugin.storage.session import Session
from victor_autotune_testing.simulated import SPEC, Simulation, by_formation

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


def child(work: Callable[[], object]) -> int:
    """Start something in a forked child; return its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def end_of(pid: int) -> int:
    """Wait for a child; return its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_child(work: Callable[[], object]) -> int:
    """Run something in a forked child; return its exit code, negative for a signal."""
    return end_of(child(work))


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
    finished = {record.run_id: record for record in records if record.status == "finished"}
    for phase in ("test", "watch"):
        observed = [one.run_id for one in store.observations(experiment.id, phase)]
        assert len(observed) == len(set(observed))
        assert set(observed) == {name for name, run in finished.items() if run.phase == phase}
        indices = [one.index for one in store.assignments(experiment.id) if one.phase == phase]
        assert indices == list(range(len(indices)))
    (replayed,) = replay_all(store, [experiment])
    assert replayed.same, replayed.differences
    store.close()


def kill_and_go_on(folder: Path, points: Iterable[int], total: int) -> None:
    """For each of some points, kill a story there and have another process go on; note which were reached."""
    for number in points:
        project = folder / str(number)
        project.mkdir()
        code = in_child(partial(killed_at, project, 1 + number * total // POINTS))
        assert code in (0, -signal.SIGKILL)
        assert in_child(partial(whole_story, project)) == 0
        check(project)
        if code == -signal.SIGKILL:
            (folder / f"killed {number}").touch()


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.slow
def test_a_process_killed_at_any_statement_leaves_a_loop_that_goes_on(tmp_path: Path) -> None:
    first = tmp_path / "whole"
    first.mkdir()
    assert in_child(partial(statements, first)) == 0
    total = int((first / "count").read_text())
    assert total >= POINTS
    check(first)
    # Two at a time, since a story waits for its disk now and then.
    halves = [child(partial(kill_and_go_on, tmp_path, range(start, POINTS, 2), total)) for start in (0, 1)]
    assert [end_of(pid) for pid in halves] == [0, 0]
    # Durations are drawn anew after a kill, so the last points may lie beyond the end of a story.
    assert len(list(tmp_path.glob("killed *"))) >= 200
