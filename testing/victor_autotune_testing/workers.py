"""What the processes of the concurrency tests do. Spawned processes import this by name."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from attrs import evolve

from victor_autotune_plugin._model.experiment import Assignment
from victor_autotune_plugin.storage import Store
from victor_autotune_testing.stored import SPEC, finished, planned, start

PATIENCE_SECONDS = 10.0
"""Of the writers. A lock is held for well below a millisecond, yet a busy machine may stop its holder for long."""


def arm_of(stream: str, index: int) -> str:
    """Balanced in pairs: a pair holds both arms, in an order drawn from a seed."""
    first, second = index % 2, hashlib.sha256(f"{stream}/{index // 2}".encode()).digest()[0] % 2
    return "control" if first == second else "treatment"


def one_run(store: Store, run_id: str) -> None:
    """Start, finish and number a run of experiment `e1` as the plugin does, and save its team."""
    with store.transaction() as transaction:
        stream, index = transaction.take_stream("e1", "test", block=2)
        arm: Any = arm_of(stream, index)
        assignment = Assignment("e1", "test", arm, stream, index)
        transaction.start_run(start(run_id), planned(assignment=assignment))
        transaction.give_back_stream("e1", "test", stream, index + 1)
    with store.transaction() as transaction:
        run = finished(run_id, arm=arm, phase="test", stream=stream, index=index, cancelled=False)
        assert transaction.finish_run(run)
    with store.transaction() as transaction:
        transaction.number_runs(*SPEC.key, 100)
        team = transaction.team(*SPEC.key)
        transaction.save_team(evolve(team, updated_at=team.updated_at + 1.0))


def run_many(url: str, name: str, runs: int, barrier: Any, answer: Connection) -> None:
    """Run `runs` runs as fast as they go and send what went wrong, or their numbers in this process."""
    try:
        barrier.wait(30)
        with Store.open(url, busy_timeout_seconds=PATIENCE_SECONDS) as store:
            for number in range(runs):
                one_run(store, f"{name}-{number}")
            answer.send(list(range(runs)))
    except BaseException as error:
        answer.send(f"{type(error).__name__}: {error}")


def open_once(url: str, name: str, runs: int, barrier: Any, answer: Connection) -> None:
    """Open the store at the same moment as others do."""
    try:
        barrier.wait(30)
        with Store.open(url) as store:
            answer.send([store.counts()["runs"]])
    except BaseException as error:
        answer.send(f"{type(error).__name__}: {error}")


def start_and_die(url: str, name: str, runs: int, barrier: Any, answer: Connection) -> None:
    """Start runs and be gone without a word, as after `kill -9`."""
    store = Store.open(url)
    with store.transaction() as transaction:
        for number in range(runs):
            transaction.start_run(start(f"{name}-{number}"), planned())
    answer.send([os.getpid()])
    os.kill(os.getpid(), 9)


def die_in_a_transaction(url: str, name: str, runs: int, barrier: Any, answer: Connection) -> None:
    """Be killed after writing and before the commit."""
    store = Store.open(url)
    with store.transaction() as transaction:
        transaction.start_run(start(name), planned())
        answer.send([os.getpid()])
        os.kill(os.getpid(), 9)


def in_processes(target: Any, url: str, *, processes: int, runs: int = 0) -> list[list[int]]:
    """Run a function of this module in several new processes at once; return what each sent.

    Raises:
        AssertionError: One failed.
    """
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(processes)
    pipes = [spawn.Pipe(duplex=False) for _ in range(processes)]
    children = [
        spawn.Process(target=target, args=(url, f"p{number}", runs, barrier, pipe[1]), daemon=True)
        for number, pipe in enumerate(pipes)
    ]
    for child in children:
        child.start()
    answers: list[Any] = []
    for receiver, sender in pipes:
        sender.close()
        answers.append(receiver.recv() if receiver.poll(120) else "no answer")
        receiver.close()
    for child in children:
        child.join(30)
        child.close()
    assert_none_failed(answers)
    return answers


def assert_none_failed(answers: Sequence[Any]) -> None:
    failed = [answer for answer in answers if isinstance(answer, str)]
    assert not failed, failed
