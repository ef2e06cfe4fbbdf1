"""Everything that `explain` shows of a team, gathered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

from .._settings import Price
from .._tuning.next_test import Advice, advice
from .facts import TeamFacts, statistics, team_facts
from .outlook import outlook

if TYPE_CHECKING:
    from .._model.experiment import Change, TeamState
    from .._model.optimization import OptimizationSuggestion
    from ..experiment.fixed_sample import Comparison
    from .session import Session


@frozen
class Explanation:
    """Which plan a team runs with, and why.

    Attributes:
        facts: What is known of the team.
        source: The change that gave it its live plan, or None when none did.
        ending: The change that ended the last experiment, or None while one is open.
        statistics: The runs of the experiment's test by fixed-sample methods, as if they were looked at once.
        outlook: What would change the decision, sentence by sentence.
        advice: What the tuner says, and the runs that it and the strategies go by.
        suggestions: What the strategies suggest, best first, each with the status of the experiment that tried it
            before, or None, and why it is not tested now, or None.
        settings: `(key, value, source)` of every setting.
        note: A remark on where the settings come from, or None.
    """

    facts: TeamFacts
    source: Change | None
    ending: Change | None
    statistics: list[Comparison]
    outlook: list[str]
    advice: Advice
    suggestions: list[tuple[OptimizationSuggestion, str | None, str | None]]
    settings: tuple[tuple[str, object, str], ...]
    note: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        experiment = self.facts.experiment
        return {
            "team": self.facts.to_dict() | {"experiment": None if experiment is None else experiment.to_dict()},
            "configured": None if self.facts.state.spec is None else self.facts.state.spec.to_dict(),
            "plan_from": None if self.source is None else self.source.to_dict(),
            "ended_by": None if self.ending is None else self.ending.to_dict(),
            "verdict": self.facts.verdict,
            "watch_verdict": self.facts.watch,
            "statistics": [one.to_dict() for one in self.statistics],
            "outlook": self.outlook,
            "tuner": self.advice.to_dict(),
            "suggestions": [
                one.to_dict() | {"tested_before": tested, "waits_because": waits}
                for one, tested, waits in self.suggestions
            ],
            "settings": [
                {"key": key, "value": _plain(value), "source": source} for key, value, source in self.settings
            ],
        }


def explanation(session: Session, state: TeamState, file: Path | None = None) -> Explanation:
    """Gather what explains a team's plan.

    Args:
        session: Its project.
        state: The team's state.
        file: Its workflow's file, for the settings in it, or None.

    Raises:
        WorkflowError: If the file can't be used.
        SettingsError: If the settings in it are wrong.
    """
    store, runtime = session.store, session.runtime
    assert store is not None
    metadata, source = (None, None) if file is None else _metadata(file, state.workflow)
    settings = runtime.resolver.for_team(*state.key, metadata, source)
    facts = team_facts(session, state, settings=settings)
    changes = store.changes(*state.key)
    advised = advice(store, state, settings, runtime.hooks)
    tried = {
        experiment.treatment.id: experiment.status
        for experiment in reversed(store.experiments(*state.key))
        if experiment.fingerprint == state.fingerprint
    }
    note = None
    if file is None and facts.figures.runs and facts.mode != settings.mode:
        note = (
            f"the last run had mode {facts.mode}; the workflow's own metadata.autotune may say so. "
            "Name its file to see its settings, too: --file WORKFLOW.yaml"
        )
    ended = facts.experiment.id if facts.experiment is not None and facts.experiment.has_ended else None
    return Explanation(
        facts=facts,
        source=next((change for change in reversed(changes) if change.plan_before != change.plan_after), None),
        ending=next((change for change in reversed(changes) if change.experiment_id == ended), None) if ended else None,
        statistics=[] if facts.experiment is None else statistics(store, facts.experiment),
        outlook=outlook(facts, settings),
        advice=advised,
        suggestions=[
            (one, tried.get(state.plan.merged(one.plan).id), advised.challenge.waits_because(one))
            for one in advised.challenge.suggested
        ],
        settings=runtime.resolver.explain(*state.key, metadata, source),
        note=note,
    )


def _metadata(file: Path, workflow: str) -> tuple[Any, str | None]:
    from .._host.workflows import read_workflows

    read = read_workflows(file)
    metadata = (read.workflow(workflow).metadata or {}).get("autotune")
    return metadata, f"{file}:{read.lines[workflow]}" if workflow in read.lines else None


def _plain(value: object) -> object:
    return asdict(value) if isinstance(value, Price) else value
