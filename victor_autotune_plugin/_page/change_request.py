"""A promotion as a change to review: a patch of the workflow file, a text about it, and its evidence.

Its figures are those that the screens show of a live plan: of runs of both plans at the same time.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from .._dataflow.flow_facts import facts_of
from .._model.merged_definition import in_terms_of, takes_over
from .._model.text import DASH, TITLES, change, clean, interval, number, percent, plan_text, seconds, usd, when
from ..errors import AutotuneError
from .figure_words import FIGURE_TITLES, basis_text, change_text, shown_figure, sure_text
from .outcome import FIGURES, live_outcome

if TYPE_CHECKING:
    from .._model.experiment import Experiment, TeamState
    from .._settings import Settings
    from ..configfiles.team import TeamConfigFile
    from ..storage import Store
    from .outcome import PlanOutcome

_NOT_KNOWN: Final = "not known"
_SCORED: Final = ("score", "success", "member_success", "loss")


@frozen
class ChangeRequest:
    """A proven plan, and the workflow file that it is proposed for.

    Attributes:
        state: The team's state.
        proof: The experiment whose test proved its live plan.
        outcome: What the plan brought.
        patch: What `git apply` takes.
        text: Markdown for a pull request.
        evidence: An archive with the experiment and all that its verdict is replayed from.
        notes: What a person should know about it, sentence by sentence.
    """

    state: TeamState
    proof: Experiment
    outcome: PlanOutcome
    patch: str
    text: str
    evidence: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, store: Store, state: TeamState, settings: Settings, file: TeamConfigFile) -> ChangeRequest:
        """Make the proposal of a team's live plan.

        Args:
            store: The store.
            state: The team's state.
            settings: Its settings.
            file: The workflow file that declares it.

        Raises:
            AutotuneError: No test proved the live plan, or the file declares another team or says so already.
            WorkflowError: The file can't take the plan.
            PlanError: It can't take the plan.
            StoreError: The store can't be read.
        """
        proof = _proof(store, state)
        _check_file(state, file)
        plan = state.plan if state.spec is None or file.spec is None else in_terms_of(file.spec, state.spec, state.plan)
        placement = file.proposal(plan)
        text = file.rendered_as(placement, plan)
        original = file.rendered({})
        if text == original:
            raise AutotuneError(
                f"says so already: {plan_text(state.plan)}", where=str(file.path), hint="Nothing to do."
            )
        outcome = live_outcome(store, state)
        assert outcome is not None  # a plan with a proof is live
        notes = (*file.notes, *placement.notes)
        flow = None
        if state.spec is not None:
            known = store.data_flow(*state.key)
            flow = facts_of(known, state.spec, settings, state.plan, has_scorer=bool(state.gates)).graph
        told = _Told(state, proof, outcome, file.path, flow, notes)
        patch = patch_of(file.path, original, text)
        return cls(state, proof, outcome, patch, told.markdown(), _evidence(store, state, proof), notes)


def _proof(store: Store, state: TeamState) -> Experiment:
    """Return the experiment that proved a team's live plan."""
    live = None if state.live_id is None else store.experiment(state.live_id)
    if live is not None and live.verdict is None and live.proven_by is not None:
        live = store.experiment(live.proven_by)
    if live is None or live.verdict is None or live.verdict.get("status") != "passed":
        raise AutotuneError(
            f"no test has proven a live plan of team {state.team_id!r}",
            hint="victor autotune status shows what is tested; what a person applied can be written into a file with "
            "victor autotune apply --config.",
        )
    return live


def _check_file(state: TeamState, file: TeamConfigFile) -> None:
    """Make sure that a file declares a team as its runs were: as they began, or with a live plan in it."""
    spec, known = file.spec, state.spec
    if spec is None:
        hint = "Name the workflow file with the team step."
        raise AutotuneError("is not a workflow file", where=str(file.path), hint=hint)
    if known is None:
        return
    by_id = {member.id: member for member in known.members}
    if {*spec.member_ids} == {*by_id}:
        declared = evolve(  # what the file leaves out is as Victor fills it in
            known,
            formation=spec.formation,
            members=[by_id[name] for name in spec.member_ids],
            tool_budget=known.tool_budget if spec.tool_budget is None else spec.tool_budget,
            timeout_seconds=spec.timeout_seconds,
            start_from=file.settings.start_from,
        )
        is_merged = declared.fingerprint() in state.merged or takes_over(known, state.plan, declared)
        if is_merged or spec.formation == known.formation:
            return
    raise AutotuneError(
        f"declares team {state.team_id!r} otherwise than its last runs did: {spec.formation} of "
        f"{', '.join(spec.member_ids)}, not {known.formation} of {', '.join(known.member_ids)}",
        where=str(file.path),
        hint="Name the file that those runs were of; of a changed team nothing is proven yet.",
    )


def _evidence(store: Store, state: TeamState, proof: Experiment) -> str:
    """Return what the verdict of a test rests on, and what the watch over its plan says now."""
    from .._tuning.present_state import verdicts
    from ..storage import archive

    last, watched = proof.decided_order, verdicts(store, proof)[1]
    test = [one for one in store.observations(proof.id, "test") if last is None or one.order <= last]
    watch = store.live_observations(proof.id)  # with those of the test that came after its end
    told = evolve(proof, watch_verdict=watched)
    record = archive.ExperimentRecord(told, {"test": tuple(test), "watch": tuple(watch)})
    return archive.to_line(archive.header()) + archive.to_line(state) + archive.to_line(record)


def patch_of(path: Path, before: str, after: str) -> str:
    """Return the change of a file's text as a patch that `git apply` takes.

    Args:
        path: The file. In a Git working tree the patch is for the top of that, else for the file's own folder.
        before: Its text before.
        after: Its text after.
    """
    file = path.absolute()
    top = next((folder for folder in file.parents if (folder / ".git").exists()), file.parent)
    name = file.relative_to(top).as_posix()
    old, new = _named(f"a/{name}"), _named(f"b/{name}")
    end = "\t" if " " in name and not old.startswith('"') else ""  # as Git ends a name with spaces
    lines = difflib.unified_diff(_lines(before), _lines(after), f"{old}{end}", f"{new}{end}", lineterm="\n")
    made = [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines]
    return f"diff --git {old} {new}\n{''.join(made)}"


def _named(name: str) -> str:
    """Return a file's name as Git writes it, in quotes where something in it would be misread."""
    if all(char.isprintable() and char not in '"\\' for char in name):
        return name
    made = "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in name.encode())
    return f'"{made}"'


def _lines(text: str) -> list[str]:
    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


@frozen
class _Told:
    """What the text about a proposal is made of."""

    state: TeamState
    proof: Experiment
    outcome: PlanOutcome
    path: Path
    flow: str | None
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """Return the text."""
        state, proof, verdict = self.state, self.proof, self.proof.verdict or {}
        basis = basis_text(self.outcome)
        name, workflow = _shown(state.team_id), _shown(state.workflow)
        parts = [
            f"# Team {name}: {_shown(plan_text(state.plan))}",
            f"Team {name} of workflow {workflow} runs with this plan already, in the environment "
            f"{_shown(state.environment)}: {_shown(proof.description)} This change writes it into "
            f"`{self.path.name}`.",
            _table(("", "before", "after", "change, 95 % interval", "how sure"), self._was_now()),
            f"{basis[0].upper()}{basis[1:]}: of time, cost and tokens the median of a run, of score and success the "
            f"mean. The A/B test `{proof.id}` ran from {when(proof.created_at)} to {when(proof.decided_at)}.",
            "## How sure",
            f"{_shown(str(verdict.get('reason', '')))} {_effect(proof, verdict)}",
            _table(("guardrail", "before", "after", "most that is allowed", "is"), _guardrails(verdict)),
            "## Data flow",
            _shown(self.flow) if self.flow else "It is not known which members use each other's work.",
            _ALLOWED.get(proof.allowed_by or "", "What allowed this change was not recorded."),
            "## After the merge",
            _RECOGNISED,
            *(f"Note: {_shown(note)}." for note in self.notes),
            "## How to roll it back",
            f"`victor autotune rollback {_code(state.team_id)} --workflow {_code(state.workflow)}`: the next runs use "
            "the plan before, whichever file their machines have. Then revert this change, or `git apply -R` the "
            "patch, so that the file says what runs. The file alone rolls nothing back: the plan was live before it.",
            "## How to check it",
            "`victor autotune replay evidence.jsonl` decides the test again from its runs: arms from the seed, and the "
            "verdict from what was observed. It needs neither the store nor a model.",
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _was_now(self) -> list[tuple[str, ...]]:
        rows = []
        for name in FIGURES:
            one = self.outcome.figure(name)
            shown = [_NOT_KNOWN] * 4
            if one is not None:
                told = sure_text(one)
                shown = [*map(shown_figure(name), (one.was, one.now)), change_text(one), DASH if told is None else told]
            rows.append((FIGURE_TITLES[name], *shown))
        return rows


_ALLOWED: Final = {
    "data_flow": "By its data flow the change keeps the work: each member still waits for what it uses.",
    "score": "A scorer that decides grades what comes out, and guarded the test.",
    "person": "A person allowed the change.",
}
_RECOGNISED: Final = (
    "The plugin recognises the team's new definition: the proof holds, the plan is verified with every run as before, "
    "a rollback leads to how the team ran before, and tuning goes on, an open test included."
)


def _effect(proof: Experiment, verdict: Mapping[str, Any]) -> str:
    ends = verdict.get("interval") or (None, None)
    metric, effect = TITLES.get(proof.policy.metric, proof.policy.metric), verdict.get("effect")
    rate = verdict.get("error_rate")
    said = (
        ""
        if "interval" in str(verdict.get("reason"))
        else f"The {metric} changed by {change(effect)} ({interval(*ends)})."
    )
    if isinstance(rate, float) and math.isfinite(rate):
        said += f" A test of two plans that are alike ends with a proof in at most {percent(rate)} of cases."
    return said


def _guardrails(verdict: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for one in verdict.get("guardrails") or ():
        shown: Callable[[float | None], str] = percent
        if one["name"] in ("p95", "mean", "duration"):
            shown = seconds
        elif one["name"] == "cost":
            shown = usd
        elif one["name"] == "tool_calls":
            shown = number
        margin = f"{percent(one['margin'])} {'less' if one['name'] in _SCORED[:3] else 'more'}"
        arms = (DASH if one[arm] is None else shown(one[arm]) for arm in ("control", "treatment"))
        rows.append((TITLES.get(one["name"], one["name"]), *arms, margin, str(one["status"])))
    return rows


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_shown(cell) for cell in line)} |" for line in lines)


def _shown(value: object) -> str:
    """Return a text in which no character of a name is markup."""
    return "".join(f"\\{char}" if char in "\\`*[]<>|#" else char for char in clean(value))


def _code(value: str) -> str:
    import shlex

    return shlex.quote(clean(value)).replace("`", "")
