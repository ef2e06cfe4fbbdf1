"""The parts of the tuner and of the loop that an ablation leaves out, one at a time.

The product has no switches for them: a part is replaced here, in the process that simulates, as long as a team is
tuned. Where a part is renamed, `unittest.mock.patch` says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

from attrs import evolve

from victor_autotune_plugin._tuner import TeamPrior, choice, search, shipped_prior, tuner
from victor_autotune_plugin._tuner.regression import RandomEffects
from victor_autotune_plugin._tuner.span_replay import MemberHistory
from victor_autotune_plugin._tuning import next_test
from victor_autotune_plugin._tuning.next_test import Challenge
from victor_autotune_plugin._tuning.verdicts import Verdicts


def flat() -> TeamPrior:
    """Return a prior that knows only how large effects usually are; what it says of the replay's error stays."""
    shipped = shipped_prior()

    def flattened(part: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        return {k: (mean, sd) if k == "intercept" else (0.0, max(sd, 0.5)) for k, (mean, sd) in part.items()}

    return evolve(shipped, duration=flattened(shipped.duration), outcome=flattened(shipped.outcome))


def _answer(value: Any) -> Any:
    return lambda *_, **__: value


PARTS: Final[Mapping[str, tuple[tuple[Any, str, Any], ...]]] = {
    "shipped prior": ((tuner, "shipped_prior", flat),),
    "replay of spans": ((MemberHistory, "add", _answer(False)), (MemberHistory, "spans", _answer(None))),
    "plans' own effects": ((RandomEffects, "learn", _answer(None)),),
    "strategies": ((next_test, "suggestions", _answer([])),),
    "exposure cap": ((search, "FREE_RUNS", math.inf),),
    "hopeless ends": ((choice, "HOPELESS", -1.0), (choice, "STOPPED_AFTER", math.inf)),
    "bet": ((Challenge, "forecast", _answer({})),),
    "probation": ((Verdicts, "_why_on_probation", _answer(None)),),
}
"""What each part is replaced with: an owner, the name of its attribute, and the value."""


@contextmanager
def without(part: str) -> Iterator[None]:
    """Leave out a part of `PARTS`."""
    with ExitStack() as stack:
        for owner, name, value in PARTS[part]:
            stack.enter_context(patch.object(owner, name, value))
        yield
