"""`apply`: make suggested changes, asking a person about each or not, tested or at once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..errors import AutotuneError
from . import rendering as show
from .command import ExitCode
from .options import (
    HERE,
    ConfigFile,
    Json,
    Map,
    MaxRisk,
    Metrics,
    Output,
    Project,
    SkipBad,
    Strategies,
    Team,
    TeamName,
    Workflow,
    chosen,
)
from .suggest import Asked, print_suggestion

if TYPE_CHECKING:
    from .._model.optimization import OptimizationResult, OptimizationSuggestion

_ANSWERS: Final = {"y": "y", "yes": "y", "n": "n", "no": "n", "v": "v", "view": "v", "q": "q", "quit": "q", "": "n"}


def apply(
    name: TeamName = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Ask about each suggestion: yes, no, view, quit.")
    ] = False,
    auto: Annotated[
        bool, typer.Option("--auto", help="Ask nothing. What loosens a limit is left out: only a person may allow it.")
    ] = False,
    ab_test: Annotated[
        bool, typer.Option("--ab-test", help="Start an A/B test, which the team's next runs decide; one at a time.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show the changes, and make none.")] = False,
    metrics: Metrics = None,
    config: ConfigFile = None,
    mapped: Map = None,
    skip_bad: SkipBad = False,
    max_risk: MaxRisk = None,
    strategies: Strategies = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Apply what `suggest` suggests: to the team's live plan, or with --config to the file.

    A file keeps its comments and order, and a backup of it is kept. With
    --ab-test nothing is changed before a test on the team's next runs has
    passed. `rollback` undoes each change exactly.

    Without --interactive, --auto or --dry-run it asks, if there is a
    terminal to ask on.

    Exit code 1 if a change could not be made.
    """
    asks = interactive or (not auto and not dry_run and sys.stdin.isatty())
    if interactive and auto:
        raise AutotuneError("--interactive and --auto exclude each other", hint="Give only one of them.")
    if not (asks or auto or dry_run):
        raise AutotuneError(
            "there is no terminal to ask on", where="apply", hint="Add --auto, --interactive or --dry-run."
        )
    if as_json and asks:
        raise AutotuneError("--json can't ask", where="--json", hint="Add --auto or --dry-run.")
    asked = Asked(metrics, config, project, workflow, chosen(name, team), max_risk, strategies, skip_bad, mapped)
    with asked:
        found = asked.suggestions()
        applier = _Applier(asked, ab_test=ab_test, dry_run=dry_run, as_json=as_json)
        if not as_json:
            show.say(asked.title(found))
            show.blank()
        if asks:
            applier.ask(found)
        else:
            applier.all(found)
    data = {
        "workflow": asked.workflow,
        "team_id": asked.team_id,
        "results": [one.to_dict() for one in applier.results],
        "left_out": applier.left_out,
    }
    if not show.answered(data, output, as_json=as_json, project=project) and found:
        show.say(applier.summary())
    if any(not one.success for one in applier.results):
        raise typer.Exit(ExitCode.BAD)


class _Applier:
    """Applies suggestions one after the other, no knob twice.

    Args:
        ab_test: Whether a test decides.
        dry_run: Whether to change nothing.
        as_json: Whether nothing is printed.
    """

    def __init__(self, asked: Asked, *, ab_test: bool, dry_run: bool, as_json: bool) -> None:
        self._asked = asked
        self._ab_test = ab_test
        self._dry_run = dry_run
        self._quiet = as_json
        self._knobs: set[str] = set()
        # A file that is changed makes another team of it, so that ends the test as well.
        self._open_test = asked.open_test() if not ab_test and not dry_run else None
        self.results: list[OptimizationResult] = []
        self.left_out: list[dict[str, str]] = []

    def all(self, found: list[OptimizationSuggestion]) -> None:
        """Apply all of them that need no person's word; with a test, the first."""
        for number, one in enumerate(found, 1):
            why = self._obstacle(one)
            if why is None and one.metadata.needs_person and not self._dry_run:
                why = "It loosens a limit, so only a person may allow it: use --interactive."
            self._show(number, one)
            if why is None:
                self._apply(one)
            else:
                self._leave_out(one, why)

    def ask(self, found: list[OptimizationSuggestion]) -> None:
        """Ask about each of them, and first about a test that applying one would end."""
        test = self._open_test
        if test is not None and found:
            show.say(f"The test {test.id} of this team is open: {test.description} What you apply ends it.", "yellow")
            if _ask("Go on? (y)es, (n)o [n]: ", {"y": "y", "yes": "y", "n": "n", "no": "n", "": "n"}) != "y":
                for one in found:
                    self._leave_out(one, "A test is open, and a person said to let it go on.")
                return
            self._open_test = None
        for number, one in enumerate(found, 1):
            self._show(number, one)
            why = self._obstacle(one)
            if why is not None:
                self._leave_out(one, why)
                continue
            answer = self._answer(number, one)
            if answer == "q":
                return
            if answer == "y":
                self._apply(one)
            else:
                self.left_out.append({"description": one.description, "reason": "A person said no."})

    def summary(self) -> str:
        """Return what was done, in a sentence."""
        done = sum(one.success for one in self.results)
        failed = len(self.results) - done
        verb = "would be made" if self._dry_run else "tested now" if self._ab_test else "made"
        said = f"{show.count(done, 'change')} {verb}"
        said += f", {failed} failed" if failed else ""
        if done and not self._dry_run:
            said += "; see victor autotune history, and undo with victor autotune rollback"
        return f"{said}."

    def _obstacle(self, one: OptimizationSuggestion) -> str | None:
        """Return why a suggestion can't follow those that were applied, or None."""
        if self._open_test is not None:
            return f"The test {self._open_test.id} is open. To end it by applying this, use --interactive."
        if self._ab_test and not self._dry_run and any(result.success for result in self.results):
            return "One test at a time: it can follow once the first is decided."
        if self._knobs & _knobs(one):
            return "It changes what another suggestion has already changed."
        return None

    def _apply(self, one: OptimizationSuggestion) -> None:
        asked = self._asked
        result = asked.autotuner.apply_optimizations_sync(
            asked.team_id, [one], asked.config, self._ab_test, self._dry_run
        )
        self.results.append(result)
        if result.success:
            self._knobs |= _knobs(one)
        if not self._quiet:
            said = result.message if result.success else f"Failed: {result.error}"
            show.say(said, "" if result.success else "red", indent=3)
            show.blank()

    def _leave_out(self, one: OptimizationSuggestion, why: str) -> None:
        self.left_out.append({"description": one.description, "reason": why})
        if not self._quiet:
            show.say(f"Left out. {why}", "yellow", indent=3)
            show.blank()

    def _show(self, number: int, one: OptimizationSuggestion) -> None:
        if not self._quiet:
            print_suggestion(number, one)

    def _answer(self, number: int, one: OptimizationSuggestion) -> str:
        """Ask until there is an answer; the end of the input means quit."""
        while True:
            answer = _ask(f"Apply suggestion {number}? (y)es, (n)o, (v)iew, (q)uit [n]: ", _ANSWERS)
            if answer != "v":
                return answer
            _view(one)


def _ask(question: str, answers: Mapping[str, str]) -> str:
    """Ask on the terminal until there is an answer; the end of the input means quit."""
    console = show.err()
    while True:
        console.print(question, end="")
        line = sys.stdin.readline()
        if not line:
            console.print()
            return "q"
        answer = answers.get(line.strip().lower())
        if answer is not None:
            return answer
        letters = list(dict.fromkeys(answers.values()))
        console.print(f"Please answer {', '.join(letters[:-1])} or {letters[-1]}.")


def _knobs(one: OptimizationSuggestion) -> set[str]:
    """Return the knobs that a suggestion changes; a formation and sub-teams take each other's place."""
    same = {"sub_teams": "formation", "member_count": "members"}
    return {same.get(knob, knob) for knob in one.suggested_config}


def _view(one: OptimizationSuggestion) -> None:
    """Show everything that stands behind a suggestion."""
    show.out().print(show.pairs([(key, _short(value)) for key, value in one.metadata.items()]))


def _short(value: object) -> str:
    if isinstance(value, float):
        return show.rounded(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_short, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    return str(value)
