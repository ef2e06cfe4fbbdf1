"""A fleet on one PostgreSQL: does it take every run once, in time, and does it decide as one process would?

Each host is a process with a folder of its own that runs simulated teams at a fixed rate through the plugin's whole way
of a run, in mode `auto`. Some teams have a test open, of a treatment that gains, changes nothing, or loses. The server
works as installed (`fsync` on), on the same machine. When all hosts have settled, the store is compared with the runs
whose results were returned; every experiment that was decided is replayed, and decided again by one process with SQLite
in memory that is fed the same record.

    python benchmarks/fleet.py --hosts 16 --teams 50 --seconds 30
    python benchmarks/fleet.py --pgbouncer
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from _fleet_host import OVERRIDES, SETTLE_SECONDS, WARM_UP, spec_of
from _loop import URL_VARIABLE, new_runtime
from _report import parser, percentile, show, with_compiled_modules
from attrs import frozen
from sqlalchemy import text

from victor_autotune_plugin._model.experiment import Experiment, TeamState
from victor_autotune_plugin._model.optimization import OptimizationPriority, OptimizationSuggestion
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.migrate import create_schema
from victor_autotune_testing.fed_record import differences, fed_alone
from victor_autotune_testing.postgres import has_pooler, pooler_url, server_process, server_url, socket_folder

LEAST_RUNS_A_SECOND: Final = 1000.0
LONGEST_AGE_SECONDS: Final = 1.5

LEAST_SHOWN_MS: Final = 0.005
"""Of the processor a run, below which a thread is not told."""

HOST: Final = Path(__file__).with_name("_fleet_host.py")

LOCK_ERRORS: Final = ("deadlock detected", "could not serialize", "lock timeout", "statement timeout", "StoreBusyError")


@frozen
class StartedTest:
    """A team with a test open, before its first run.

    Attributes:
        state: The team.
        experiment: The test.
    """

    state: TeamState
    experiment: Experiment


@frozen
class Fleet:
    """What runs.

    Attributes:
        hosts: Processes.
        teams: Teams that each host runs.
        tested: Teams of them that have a test open.
        rate: Runs a second of all hosts together.
        seconds: How long runs are started.
    """

    hosts: int
    teams: int
    tested: int
    rate: float
    seconds: float


def start_tests(folder: Path, count: int) -> list[StartedTest]:
    """Start a test of each of the first teams, as a command would: its treatment runs in parallel."""
    owner = new_runtime(folder, **OVERRIDES)
    wanted = {"formation": "parallel"}
    made = OptimizationSuggestion("alike", OptimizationPriority.LOW, "Run in parallel.", {}, wanted, 10.0, 0.9, 0.0)
    found = []
    for number in range(count):
        spec = spec_of(number)
        test = owner.manual.start_test(spec.key, made, owner.settings(spec), {})
        with owner.store().transaction() as transaction:
            found.append(StartedTest(transaction.team(*spec.key), test))
    owner.close()
    return found


def processor_seconds(process: int) -> float:
    """Return the processor time of a process and its children, those that ended included."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == process or status.parent.name == str(process):
            ended = status.parent.name == str(process)
            total += sum(map(int, fields[11:15] if ended else fields[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


def run_hosts(base: Path, fleet: Fleet, servers: Sequence[int]) -> tuple[list[dict[str, Any]], float, float]:
    """Let hosts work; return what each found, when they started, and the processor time of the servers."""
    environment = with_compiled_modules(base / "compiled")
    numbers = [str(fleet.rate / fleet.hosts), str(fleet.seconds), str(fleet.teams)]
    hosts = [
        subprocess.Popen(
            [sys.executable, str(HOST), str(base / f"host-{number}"), *numbers, str(number)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(fleet.hosts)
    ]
    for one in hosts:
        assert one.stdout is not None
        if one.stdout.readline() != "ready\n":
            raise SystemExit("a host did not get ready")
    time.sleep(2.0)  # what they load behind is loaded
    before = sum(map(processor_seconds, servers))
    start_at = time.time() + 0.5
    for one in hosts:
        assert one.stdin is not None
        one.stdin.write(f"{start_at}\n")
        one.stdin.flush()
    # One after the other: what a later one prints waits in its pipe, after it has settled.
    answers = [json.loads(one.communicate(timeout=fleet.seconds + SETTLE_SECONDS + 120)[0]) for one in hosts]
    return answers, start_at, sum(map(processor_seconds, servers)) - before


def judge_the_rest(folder: Path, numbers: Iterable[int]) -> None:
    """Judge what hosts left behind, as a host that goes on would: the last one may end before it looks again."""
    owner = new_runtime(folder, **OVERRIDES)
    for spec in map(spec_of, numbers):
        owner.loop.memory.remember(spec.key, owner.settings(spec))
    owner.start(10.0)
    ends = time.monotonic() + SETTLE_SECONDS
    while any(run.number is None for run in owner.store().runs()) and time.monotonic() < ends:
        time.sleep(0.2)  # the judge looks for them by itself
    owner.settle(SETTLE_SECONDS)
    owner.close()


def drain_journals(base: Path, hosts: int) -> int:
    """Drain what hosts left in their journals, as the next process there would, and return on how many hosts."""
    found = 0
    for number in range(hosts):
        folder = base / f"host-{number}"
        if any((folder / ".victor").rglob("*.journal")):
            owner = new_runtime(folder, **OVERRIDES)
            owner.start(10.0)
            owner.settle(SETTLE_SECONDS)
            owner.close()
            found += 1
    return found


def compare(store: Store, tests: Sequence[StartedTest], folder: Path) -> dict[str, Any]:
    """Replay what was decided, and decide it again alone."""
    decided = [one for one in store.experiments() if one.verdict is not None]
    replayed = replay_all(store, decided)
    others: list[str] = []
    for test in tests:
        key = test.state.key
        runs = sorted(numbered(store, key), key=lambda run: run.number or 0)
        store_id = store.identity().id
        alone = fed_alone(
            folder,
            test.state,
            [test.experiment],
            runs,
            store_id=store_id,
            overrides={"mode": "auto", **OVERRIDES},
        )
        for shared in store.experiments(*key):
            others += [f"{key[1]} {shared.id} {what}" for what in differences(shared, alone.get(shared.id))]
    return {
        "decided": len(decided),
        "status": dict(Counter(one.status for one in store.experiments())),
        "replayed alike": sum(one.same for one in replayed),
        "alone alike": len(decided) - len({one.split()[1] for one in others} & {one.id for one in decided}),
        "differences": others,
    }


def numbered(store: Store, key: tuple[str, str]) -> Iterator[TeamRun]:
    """Yield the runs of a team that a judge took."""
    with store.reading() as transaction:
        last = 0
        while found := transaction.runs_after(*key, last, 1000):
            yield from found
            last = found[-1].number or 0


def examine(store: Store, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compare the store with the runs whose results were returned."""
    returned = [run_id for answer in answers for run_id in answer["runs"]]
    warm_up = {spec_of(WARM_UP + number).team_id for number in range(len(answers))}
    stored = {run.run_id: run for run in store.runs() if run.spec.team_id not in warm_up}
    ended = {name for name, run in stored.items() if run.status == "finished"}
    numbers = Counter((run.spec.key, run.number) for run in stored.values() if run.number is not None)
    observed = Counter(
        one.run_id for experiment in store.experiments() for one in store.observations(experiment.id, "test")
    )
    return {
        "runs": len(returned),
        "lost": len(set(returned) - ended),
        "doubled": sum(count > 1 for count in [*numbers.values(), *observed.values()]) + len(ended - set(returned)),
        "observed": len(observed),
        "not judged": sum(run.number is None for run in stored.values()),
    }


def kilobytes_a_run(store: Store) -> float:
    """Return what a run takes in PostgreSQL, its indexes included."""
    query = text("SELECT pg_total_relation_size('autotune_run') / 1000.0 / count(*) FROM autotune_run")
    return round(float(store._connections.execute(query)[0][0]), 1)


def measure(fleet: Fleet, base: Path, url: str, servers: Sequence[int], log: Path | None) -> dict[str, Any]:
    """Let a fleet work on a server, and say what came of it."""
    os.environ[URL_VARIABLE] = url
    try:
        tests = start_tests(base / "start", fleet.tested)
        answers, started_at, server_seconds = run_hosts(base, fleet, servers)
        drained = drain_journals(base, fleet.hosts)
        judge_the_rest(base / "rest", [*range(fleet.teams), *range(WARM_UP, WARM_UP + fleet.hosts)])
        with Store.open(url, environment=str(OVERRIDES["environment"])) as store:
            found = examine(store, answers) | {"kilobytes": kilobytes_a_run(store)}
            compared = compare(store, tests, base / "start")
    finally:
        del os.environ[URL_VARIABLE]
    ages = [age for answer in answers for age in answer["ages"]]
    took = max(answer["settled_at"] for answer in answers) - started_at
    faults = sorted({fault for answer in answers for fault in answer["faults"]})
    written = log.read_text(errors="replace") if log is not None else ""
    host_seconds = sum(answer["processor_seconds"] for answer in answers)
    threads: Counter[str] = Counter()
    for answer in answers:
        threads.update(answer["threads"])
    return {
        "hosts": fleet.hosts,
        "teams": fleet.teams,
        "tested": fleet.tested,
        "runs": found["runs"],
        "a second": round(found["runs"] / took),
        "lost": found["lost"],
        "doubled": found["doubled"],
        "lock errors": sum(written.count(word) for word in LOCK_ERRORS)
        + sum(word in fault for fault in faults for word in LOCK_ERRORS),
        "age p50 s": round(percentile(ages, 0.5), 2),
        "age p99 s": round(percentile(ages, 0.99), 2),
        "loop ms": round(percentile([ms for answer in answers for ms in answer["processor"]], 0.5), 2),
        "delay p50 ms": round(percentile([ms for answer in answers for ms in answer["delays"]], 0.5), 1),
        "delay p99 ms": round(percentile([ms for answer in answers for ms in answer["delays"]], 0.99), 1),
        "host ms a run": round(1000 * host_seconds / found["runs"], 2),
        "teams alone ms a run": round(percentile([answer["teams_ms"] for answer in answers], 0.5), 2),
        "server ms a run": round(1000 * server_seconds / found["runs"], 2),
        "threads ms a run": {
            name.removeprefix("autotune "): round(1000 * seconds / found["runs"], 2)
            for name, seconds in threads.most_common()
            if 1000 * seconds / found["runs"] >= LEAST_SHOWN_MS
        },
        "KB a run": found["kilobytes"],
        "journaled": sum(answer["journaled"] for answer in answers),
        "drained later": drained,
        "settled": sum(answer["settled"] for answer in answers),
        "not judged": found["not judged"],
        "observed": found["observed"],
        **compared,
        "faults": faults,
    }


def is_sound(row: dict[str, Any]) -> bool:
    """Return whether nothing went wrong, however fast it was."""
    wrong = ("lost", "doubled", "lock errors", "not judged")
    return not any(row[name] for name in wrong) and row["decided"] == row["replayed alike"] == row["alone alike"]


@contextmanager
def servers(*, pgbouncer: bool) -> Iterator[tuple[str, list[int], Path]]:
    """Yield the URL that hosts use, the processes to be counted as the server, and the server's log."""
    with ExitStack() as stack:
        url = stack.enter_context(server_url(is_durable=True))
        create_schema(url)
        counted, used = [server_process(url)], url
        if pgbouncer:
            used, pooler = stack.enter_context(pooler_url(url))
            counted.append(pooler)
        yield used, counted, socket_folder(url) / "log"


def main() -> int:
    """Run the benchmark; the exit code is 1 when a run was lost or doubled, or a verdict differs."""
    made = parser("A fleet of hosts on one PostgreSQL.")
    made.add_argument("--hosts", type=int, default=16)
    made.add_argument("--teams", type=int, default=50)
    made.add_argument("--tested", type=int, default=12, help="teams that have a test open")
    made.add_argument("--rate", type=float, default=1100.0, help="runs a second of all hosts together")
    made.add_argument("--seconds", type=float, default=30.0)
    made.add_argument("--pgbouncer", action="store_true", help="through pgbouncer in transaction mode")
    options = made.parse_args()
    if options.pgbouncer and not has_pooler():
        print("pgbouncer is not installed, so nothing was measured through it.")
        return 0
    fleet = Fleet(options.hosts, options.teams, min(options.tested, options.teams), options.rate, options.seconds)
    with (
        tempfile.TemporaryDirectory() as name,
        servers(pgbouncer=options.pgbouncer) as (url, counted, log),
    ):
        row = measure(fleet, Path(name), url, counted, log)
    row = {"through": "pgbouncer" if options.pgbouncer else "directly", **row}
    note = (
        f"to reach: {LEAST_RUNS_A_SECOND:g} runs a second, age p99 ≤ {LONGEST_AGE_SECONDS:g} s, nothing lost or doubled"
    )
    show(
        "A fleet on one PostgreSQL",
        [row],
        options.json,
        note,
        only_json=["status", "differences", "faults", "threads ms a run"],
    )
    return int(not is_sound(row))


if __name__ == "__main__":
    raise SystemExit(main())
