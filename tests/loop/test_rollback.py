"""Which promotions are in effect, from the history and the live plan alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from victor_autotune_plugin._model.experiment import TAKES_BACK, Change
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._tuning.manual import in_effect

PLANS = (TeamPlan(formation="parallel"), TeamPlan(tool_budget=30), TeamPlan(timeout_seconds=60.0))


class History:
    """Promotes and takes back as the loop does, and remembers what it did."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.plan = EMPTY_PLAN
        self.expected: list[int] = []
        self._before: list[TeamPlan] = []

    def promote(self, plan: TeamPlan) -> None:
        if plan == self.plan:
            return
        self._add("promoted", plan, rollback_plan=self.plan)
        self.expected.append(len(self.changes))
        self._before.append(self.plan)
        self.plan = plan

    def take_back(self, deep: int, *, named: bool) -> None:
        if deep >= len(self.expected):
            return
        taken = self.expected[deep:]
        plan = self._before[deep]
        self._add("rolled_back", plan, evidence={TAKES_BACK: taken} if named else {})
        self.plan = plan
        del self.expected[deep:], self._before[deep:]

    def redefine(self) -> None:
        self._add("aborted", EMPTY_PLAN)
        self.plan = EMPTY_PLAN
        self.expected, self._before = [], []

    def _add(self, action: Any, after: TeamPlan, **details: Any) -> None:
        number = len(self.changes) + 1
        change = Change(number, float(number), "flow", "team", action, "auto", "", None, self.plan, after, **details)
        self.changes.append(change)


def test_an_imported_promotion_is_not_in_effect() -> None:
    history = History()
    history.promote(PLANS[0])
    assert in_effect(history.changes, EMPTY_PLAN) == []


def test_a_change_that_was_made_elsewhere_is_none_of_the_live_plan() -> None:
    noted = Change(1, 1.0, "flow", "team", "promoted", "person", "", None, rollback_plan=EMPTY_PLAN)
    assert in_effect([noted], EMPTY_PLAN) == []


_STEPS = some.lists(
    some.one_of(
        some.tuples(some.just("promote"), some.integers(0, 2)),
        some.tuples(some.just("named"), some.integers(0, 3)),
        some.tuples(some.just("watch"), some.just(0)),
        some.tuples(some.just("redefine"), some.just(0)),
    ),
    max_size=12,
)


@given(_STEPS)
def test_the_chain_is_what_was_promoted_and_not_taken_back(steps: list[tuple[str, int]]) -> None:
    history = History()
    for step, number in steps:
        if step == "promote":
            # A plan grows knob by knob, as the loop merges it.
            history.promote(history.plan.merged(PLANS[number]))
        elif step == "named":
            history.take_back(number, named=True)
        elif step == "watch":  # a watch takes back the latest, and names nothing
            history.take_back(max(len(history.expected) - 1, 0), named=False)
        else:
            history.redefine()
    assert [change.id for change in in_effect(history.changes, history.plan)] == history.expected
