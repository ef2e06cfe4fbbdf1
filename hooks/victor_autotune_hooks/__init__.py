"""The plugin's own behaviour, as pluggy hook implementations.

`plan` chooses the plan of a run, `record` keeps its start and values it, `judge` keeps its end and lets the experiment
decide about it, and `observe` counts it in the metrics. A third party's hooks stand beside them as equals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .judge import JudgeHooks
from .observe import ObserveHooks
from .plan import PlanHooks
from .record import RecordHooks

if TYPE_CHECKING:
    from victor_autotune_plugin._settings import SettingsResolver
    from victor_autotune_plugin._tuning.loop import TuningLoop
    from victor_autotune_plugin._tuning.recorder import Recorder

__all__ = ["JudgeHooks", "ObserveHooks", "PlanHooks", "RecordHooks", "built_in"]


def built_in(
    loop: TuningLoop, recorder: Recorder, resolver: Callable[[], SettingsResolver]
) -> tuple[tuple[str, object], ...]:
    """Return the built-in hooks, in the order in which they are registered.

    Args:
        loop: Chooses plans and judges.
        recorder: Keeps runs.
        resolver: Gives the current settings.

    Returns:
        `(name, hooks)` pairs.
    """
    return (
        ("autotune.judge", JudgeHooks(loop)),
        ("autotune.observe", ObserveHooks()),
        ("autotune.record", RecordHooks(recorder, resolver)),
        ("autotune.plan", PlanHooks(loop)),
    )
