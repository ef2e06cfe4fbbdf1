"""What a person may do on the page where it was allowed: answer what awaits, pause and resume, and roll back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from .. import failsafe
from .._apply.application import take_back
from .._apply.optimizations import recorded
from .._model.converter import PlainDataError, from_plain
from .._model.process import person_name
from .._tuning.notice_work import send_within
from ..errors import AutotuneError

if TYPE_CHECKING:
    from .._tuning.runtime import Runtime

ACTIONS: Final = ("approve", "reject", "pause", "resume", "rollback")
"""What may be asked for."""

_LONGEST_REASON: Final = 300


@frozen
class PageAction:
    """What a person asks for.

    Attributes:
        action: One of `ACTIONS`.
        workflow: The team's workflow.
        team: Its id.
        experiment: The experiment that was shown, to approve or reject it and no other; None for the other actions.
        reason: Why, for the history.
    """

    action: str
    workflow: str
    team: str
    experiment: str | None = None
    reason: str = ""

    @classmethod
    def read(cls, data: Any) -> PageAction:
        """Return what plain data ask for.

        Raises:
            AutotuneError: They ask for nothing that there is.
        """
        try:
            made = from_plain(cls, data)
        except (PlainDataError, TypeError) as error:
            raise AutotuneError("the request is not understood") from error
        if made.action not in ACTIONS:
            raise AutotuneError(f"there is no action {made.action!r}")
        if made.action in ("approve", "reject") and not made.experiment:
            raise AutotuneError(f"to {made.action}, name the experiment that was shown")
        return made


def perform(runtime: Runtime, asked: PageAction) -> str:
    """Do what a person asked for, and say in a sentence what was done.

    Raises:
        AutotuneError: It can't be done: the team changed since, or nothing awaits a person.
        StoreError: If the store can't be used.
    """
    try:
        return _perform(runtime, asked)
    finally:
        with failsafe.guard("notices"):  # sent behind: this process goes on
            send_within(runtime.store(), runtime.options().notify, 0.0)


def _perform(runtime: Runtime, asked: PageAction) -> str:
    key, manual, who = (asked.workflow, asked.team), runtime.manual, person_name(None)
    reason = asked.reason[:_LONGEST_REASON]
    if asked.action == "approve":
        manual.approve(*key, experiment_id=asked.experiment, by=who)
        return f"{asked.team}: approved."
    if asked.action == "reject":
        manual.reject(*key, experiment_id=asked.experiment, by=who, reason=reason)
        return f"{asked.team}: rejected."
    if asked.action in ("pause", "resume"):
        manual.set_paused(*key, asked.action == "pause")
        return f"{asked.team}: {asked.action}d."
    return _roll_back(runtime, key, reason or "Rolled back by hand.")


def _roll_back(runtime: Runtime, key: tuple[str, str], reason: str) -> str:
    """End the test that is open, or else roll the last change back, as `victor autotune rollback` does."""
    store = runtime.store()
    state = store.team(*key)
    found = [one for one in recorded(store, *key) if one.in_effect]
    test = None if state is None or state.experiment_id is None else store.experiment(state.experiment_id)
    if not found or (test is not None and test.status != "probation"):
        change = runtime.manual.roll_back(*key, reason)
    else:
        change = take_back(runtime, found[-1], reason)
    return (
        f"{key[1]}: {'the open test is aborted' if change.action == 'aborted' else 'the last change is rolled back'}."
    )
