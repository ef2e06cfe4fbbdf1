"""What is found out about who uses whose work: scripted teams on real Victor whose data flow is known.

`observe` runs each team in mode observe, and compares the stored data flow and its verdict with the truth. Sure edges
are right where the one's work can be in the other's, over others in between as well; edges that can be seen are found
where they are sure or suspected. `truth` shows without the plugin that the truth is one: members of a dependent team
answer otherwise when they work alone or in the reverse order. `auto` shows what follows: a pipeline keeps its answers,
independent sub-agents go live side by side, and so do custom participants only where a person says so.

    python benchmarks/data_flow.py observe --runs 12
"""

from __future__ import annotations

import asyncio
import multiprocessing
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from typing import Any, Final

from _report import parser, show
from _victor import Victor, running, sandboxed
from attrs import frozen

from victor_autotune_testing.flow_scenes import SCENES, CustomScene, Scene, Stage, add_tools

RUNS: Final = 12
PROCESSES: Final = 2
AT_ONCE: Final = 8
"""Teams of sub-agents that a process runs: Victor 0.9.5 keeps 7 MB for every member that ever ran."""

AUTO: Final = "mode: auto\nexperiment: {max_runs_per_arm: 40}\nwatch: {max_runs: 20}\n"
"""A test that finds nothing ends sooner than by default, and so does the watch, which keeps the next test waiting."""

RUNS_LIVE: Final = 20
"""Further runs of what went live: its answers have to stay right, and it has to stay live."""

Row = dict[str, Any]


def scene_of(name: str) -> Scene:
    """Return a scene by its name."""
    return next(scene for scene in SCENES if scene.name == name)


def stage_of(victor: Victor, latency: float = 0.0) -> Stage:
    """Return where scenes are played."""
    add_tools(victor.orchestrator)
    return Stage(victor.orchestrator, victor.model, victor.project, latency)


def observed(names: Sequence[str], runs: int) -> list[Row]:
    """Run teams in mode observe, and return the row of each."""

    async def rows(victor: Victor) -> list[Row]:
        async with running(victor) as owner:
            stage = stage_of(victor)
            return [await _observed(victor, owner, stage, scene_of(name), runs) for name in names]

    with sandboxed("mode: observe\n") as victor:
        return asyncio.run(rows(victor))


async def _observed(victor: Victor, owner: Any, stage: Stage, scene: Scene, runs: int) -> Row:
    from victor_autotune_plugin._dataflow.verdict import knowledge_of

    for _ in range(runs):
        await scene.play(stage)
    if not await owner.settled(60):
        raise SystemExit(f"the runs of {scene.name} were not judged in 60 s")
    spec = victor.runs[-1].spec
    with owner.open_store() as store:
        flow = store.data_flow(*spec.key)
    known = knowledge_of(flow, spec, owner.settings(spec))
    sure = {(seen.edge.source, seen.edge.target) for seen in flow.edges if seen.edge.sure}
    found = {(seen.edge.source, seen.edge.target) for seen in flow.edges}
    return {
        "team": scene.name,
        "kind": scene.kind,
        "truth": "independent" if scene.is_independent else "dependent" if scene.uses else "unseen",
        "verdict": known.verdict,
        "right": "yes" if known.verdict in scene.acceptable else "no",
        "found": f"{len(found & set(scene.uses))}/{len(scene.uses)}" if scene.uses else "",
        "sure": f"{len(sure & scene.flows)}/{len(sure)}" if sure else "",
        "acceptable": list(scene.acceptable),
        "missed": sorted(set(scene.uses) - found),
        "wrong": sorted(sure - scene.flows),
        "channels": sorted({seen.edge.channel for seen in flow.edges}),
        "open": {name: dict(reasons) for name, reasons in flow.open.items()},
        "runs": flow.runs_as_configured,
        "because": known.because,
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 3) if whole else 1.0


def _parts(rows: Sequence[Row], column: str) -> tuple[int, int]:
    """Return the sums of a column of `part/whole`."""
    pairs = [tuple(map(int, row[column].split("/"))) for row in rows if row[column]]
    return sum(part for part, _ in pairs), sum(whole for _, whole in pairs)


def sums(rows: Sequence[Row]) -> list[Row]:
    """Return what was to be reached over all teams, and whether it was."""
    dependent = [row for row in rows if row["truth"] != "independent"]
    known = [row for row in rows if row["acceptable"] == ["independent"]]
    unseen = [row for row in rows if row["truth"] == "unseen"]
    lost = sum(row["verdict"] == "independent" for row in dependent)
    found = sum(row["verdict"] == "independent" for row in known)
    unknown = sum(row["verdict"] == "unknown" for row in unseen)
    precision, recall = _share(*_parts(rows, "sure")), _share(*_parts(rows, "found"))
    return [
        _sum("dependent teams called independent", f"{lost} of {len(dependent)}", "0", lost == 0),
        _sum("precision of sure edges", precision, "≥ 0.98", precision >= 0.98),
        _sum("recall of edges that can be seen, with suspected ones", recall, "≥ 0.95", recall >= 0.95),
        _sum(
            "independent teams of sub-agents found",
            f"{found} of {len(known)}",
            "≥ 0.9",
            _share(found, len(known)) >= 0.9,
        ),
        _sum("closures and databases unknown", f"{unknown} of {len(unseen)}", "all", unknown == len(unseen)),
    ]


def _sum(what: str, value: object, wanted: str, reached: bool) -> Row:
    return {"over all teams": what, "value": value, "wanted": wanted, "reached": "yes" if reached else "no"}


def proven(names: Sequence[str], runs: int) -> list[Row]:
    """Play teams without the plugin, and return for each whether what is said about it shows."""

    async def rows(victor: Victor) -> list[Row]:
        async with running(victor):
            stage = stage_of(victor)
            return [await _proven(stage, scene_of(name).proof) for name in names]

    del runs
    with sandboxed("mode: off\n") as victor:
        return asyncio.run(rows(victor))


async def _proven(stage: Stage, scene: Scene) -> Row:
    shows, seen = await scene.shows_dependence(stage), await scene.influences(stage)
    return {
        "team": scene.name,
        "kind": scene.kind,
        "said": "independent" if scene.is_independent else "dependent",
        "shown": "dependent" if shows else "independent",
        "influences": f"{len(seen & scene.flows)}/{len(seen)}",
        "right": "yes" if shows is not scene.is_independent and seen <= scene.flows else "no",
    }


@frozen
class Proof:
    """A team in mode auto, and what has to become of it.

    Attributes:
        team: Name of its scene.
        formation: Formation that has to be live at the end; None for as configured.
        settings: Settings beside those of all.
        runs: Runs to play; where another formation has to go live, at most until then.
        latency: Seconds that a custom participant, or a call of a sub-agent's model, takes.
    """

    team: str
    formation: str | None
    settings: str = ""
    runs: int = 200
    latency: float = 0.02


PROOFS: Final = (
    Proof("etl", None),
    Proof("short file", None, runs=60),
    Proof("shell to read", None, runs=60),
    Proof("stages speak", None, runs=60),
    Proof("quoted goal", "parallel", latency=0.2),
    Proof("from the start", None),
    Proof("from the start", "parallel", "dataflow: independent\n"),
)


def tuned(proof: Proof) -> Row:
    """Run a team in mode auto, and return what became of it."""

    async def row(victor: Victor) -> Row:
        async with running(victor) as owner:
            return await _tuned(victor, owner, stage_of(victor, proof.latency), proof)

    with sandboxed(AUTO + proof.settings) as victor:
        return asyncio.run(row(victor))


async def _tuned(victor: Victor, owner: Any, stage: Stage, proof: Proof) -> Row:
    scene = scene_of(proof.team)
    answer = await scene.play(stage)
    right, live, first_live = 1, None, None
    while len(victor.runs) < (proof.runs if first_live is None else first_live + RUNS_LIVE):
        right += await scene.play(stage) == answer
        if not await owner.settled(60):
            raise SystemExit(f"a run of {scene.name} was not judged in 60 s")
        with owner.open_store() as store, store.transaction() as transaction:
            live = transaction.team(*victor.runs[-1].spec.key).plan.formation
        if first_live is None and live is not None and live == proof.formation:
            first_live = len(victor.runs)
    runs = len(victor.runs)
    return {
        "team": scene.name,
        "declared": proof.settings.strip() or "nothing",
        "wanted": proof.formation or scene.formation,
        "live": live or scene.formation,
        "after runs": first_live or "",
        "right answers": f"{right}/{runs}",
        "formations run": sorted({run.plan_used.formation or "?" for run in victor.runs}),
        "right": "yes" if right == runs and live == proof.formation else "no",
    }


def _in_processes(work: Callable[[Sequence[str], int], list[Row]], names: Sequence[str], runs: int) -> list[Row]:
    """Let processes play the teams, and return their rows in the order of the names."""
    chosen = [scene_of(name) for name in names]
    custom = [scene.name for scene in chosen if isinstance(scene, CustomScene)]
    others = [scene.name for scene in chosen if not isinstance(scene, CustomScene)]
    parts = [custom, *(others[start : start + AT_ONCE] for start in range(0, len(others), AT_ONCE))]
    with _pool() as pool:
        rows = list(chain.from_iterable(pool.map(partial(work, runs=runs), filter(None, parts))))
    return sorted(rows, key=lambda row: names.index(row["team"]))


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn"), max_tasks_per_child=1)


def _show(title: str, rows: Sequence[Mapping[str, Any]], options: Namespace, hidden: Sequence[str] = ()) -> None:
    wrong = sum(row["right"] == "no" for row in rows)
    note = f"{len(rows)} teams, {wrong} not as they should be"
    show(title, rows, options.json, note, only_json=hidden, sums=sums(rows) if options.what == "observe" else ())


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("what", nargs="?", choices=("observe", "truth", "auto"), default="observe")
    arguments.add_argument("--runs", type=int, default=RUNS, help="runs of each team in mode observe")
    arguments.add_argument("--only", nargs="+", choices=[scene.name for scene in SCENES], help="some teams")
    options = arguments.parse_args()
    names = options.only or [scene.name for scene in SCENES]
    if options.what == "observe":
        hidden = ("kind", "acceptable", "missed", "wrong", "channels", "open", "runs", "because")
        _show("Who uses whose work, on real Victor", _in_processes(observed, names, options.runs), options, hidden)
    elif options.what == "truth":
        _show("The truth about the teams", _in_processes(proven, names, 1), options, ("kind",))
    else:
        proofs = [one for one in PROOFS if one.team in names]
        with _pool() as pool:
            rows = list(pool.map(tuned, proofs))
        _show("What follows from it in mode auto", rows, options, ("formations run",))


if __name__ == "__main__":
    main()
