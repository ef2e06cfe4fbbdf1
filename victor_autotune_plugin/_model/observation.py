"""What an experiment sees of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from attrs import Attribute, asdict, field, frozen

from .quantities import ARMS, Arm, Count, Dollars, Seconds, Share, is_flag

if TYPE_CHECKING:
    from .run import TeamRun


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _not_negative(_: object, attribute: Attribute[Any], value: Any) -> None:
    if not (_is_number(value) and math.isfinite(value) and value >= 0):
        raise ValueError(f"{attribute.name} must be a finite number from 0, not {value!r}")


def _cost(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None:
        _not_negative(None, attribute, value)


def _share(_: object, attribute: Attribute[Any], value: Any) -> None:
    if not (_is_number(value) and 0 <= value <= 1):
        raise ValueError(f"{attribute.name} must be a number from 0 to 1, not {value!r}")


def _maybe_share(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None:
        _share(None, attribute, value)


def _count(_: object, attribute: Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{attribute.name} must be an integer from 0, not {value!r}")


def _arm(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value not in ARMS:
        raise ValueError(f"{attribute.name} must be one of {', '.join(ARMS)}, not {value!r}")


Missing = Literal["", "lost", "cancelled"]
"""How a run went missing: its process died, or it was cancelled from outside, also by a deadline of the host."""

MISSING: Final[tuple[str, ...]] = get_args(Missing)


def _missing(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value not in MISSING:
        raise ValueError(f"{attribute.name} must be one of {', '.join(MISSING[1:])} or empty, not {value!r}")


@frozen
class Observation:
    """What an experiment sees of a run that was assigned to it. Impossible values raise `ValueError` naming the field.

    Attributes:
        index: Place in its stream of arms, from 0; unique within the stream. Runs may be observed in any order of it.
        arm: `control` or `treatment`.
        duration_seconds: Wall-clock seconds.
        success: Whether the run succeeded.
        score: What its scorers made of it, from 0 to 1; None where none decides, or none of them had an opinion.
        cost_usd: Cost in US dollars, or None when no price is known.
        tool_calls: Tool calls that ran.
        timed_out: Whether a deadline ended it. Such a run counts as slower than any other.
        task_key: Equal for the same task, or None. By the rules of 0.1 only the first run of a key counts in a test.
        run_id: The run; empty for one that no store knows.
        order: Place among the observations of its experiment, in the order in which they became complete: given by
            the store, growing with gaps; 0 before.
        stream: The stream of arms that its arm is from; empty in experiments of 0.1, which had one. Its name tells the
            block that the run was assigned in; see `assignment.block_of`.
        missing: How the run went missing; empty for one that finished. Of a missing run no other figure has a meaning.
        models: Providers and models that answered, sorted, as `provider/model` joined by commas; empty where none did,
            or that is not known.
        member_success_share: Share of its members that say they succeeded; None for all or none, as the run did.
    """

    index: Count = field(validator=_count)
    arm: Arm = field(validator=_arm)
    duration_seconds: Seconds = field(validator=_not_negative)
    success: bool = field(validator=is_flag)
    score: Share | None = field(default=None, validator=_maybe_share)
    cost_usd: Dollars | None = field(default=None, validator=_cost)
    tool_calls: Count = field(default=0, validator=_count)
    timed_out: bool = field(default=False, validator=is_flag)
    task_key: str | None = None
    run_id: str = ""
    order: int = 0
    stream: str = ""
    missing: Missing = field(default="", validator=_missing)
    models: str = ""
    member_success_share: Share | None = field(default=None, validator=_maybe_share)

    @property
    def outcome(self) -> float:
        """The best that is known of its work: its score, else the share of members that succeeded."""
        if self.score is not None:
            return self.score
        return float(self.success) if self.member_success_share is None else self.member_success_share

    @classmethod
    def of(cls, run: TeamRun, *, index: int | None = None, arm: str | None = None) -> Observation:
        """Return what an experiment sees of a run.

        Args:
            index: Its number in place of the one it was assigned.
            arm: Its arm in place of the one it was assigned.

        Raises:
            ValueError: It has an impossible value, or no place in an experiment and none is given.
        """
        return cls(
            index=run.index if index is None else index,  # type: ignore[arg-type]  # its validator refuses None
            arm=run.arm if arm is None else arm,  # type: ignore[arg-type]
            duration_seconds=run.duration_seconds,
            success=run.success,
            score=run.score,
            cost_usd=run.cost_usd,
            tool_calls=run.tool_calls,
            timed_out=run.timed_out,
            task_key=run.task_key,
            run_id=run.run_id,
            stream=run.stream or "",
            missing=run.missing,
            models=run.models,
            member_success_share=run.member_success_share,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)
