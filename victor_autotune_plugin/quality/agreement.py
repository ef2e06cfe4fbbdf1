"""Whether a model as judge agrees with people and commands, so that it may decide; and where it is biased.

Agreement is Krippendorff's alpha for interval data: 1 is perfect, 0 is what chance gives, below 0 is worse than chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict, frozen

from .._model.run import ARMS
from .._model.text import count, number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .._model.score import Score

LEAST_LABELS: Final = 20
"""Labelled runs below which no judge is trusted."""

LEAST_ALPHA: Final = 0.7
"""Agreement from which a judge is trusted."""

LEAST_BOUND: Final = 0.5
"""What the lower bound of the agreement must reach for that."""

LAST_LABELS: Final = 30
"""How many labels tell whether a judge is still to be trusted."""

LOST_ALPHA: Final = 0.6
"""Agreement over them below which it is not."""

_RESAMPLES: Final = 1000
_BOUND_PERCENTILE: Final = 5
_SEED: Final = 20_260_401
_CLEAR_Z: Final = 1.96
_NO_ARM: Final = "none"


@frozen
class LabelledRun:
    """A run that both a judge, and a person or a command, have scored.

    Attributes:
        run_id: The run.
        judged: The judge's score.
        label: Mean of its labels.
        at: Unix time of its last label, seconds.
        arm: Its arm in a test; None outside of one.
        length: Characters of what it delivered; None where that is not known.
        answers: For each sample of the judge's, the pairs of check and answer in the order in which it asked.
    """

    run_id: str
    judged: float
    label: float
    at: float = 0.0
    arm: str | None = None
    length: int | None = None
    answers: tuple[tuple[tuple[str, bool], ...], ...] = ()

    @classmethod
    def of(cls, run_id: str, arm: str | None, judged: Score, labels: Iterable[Score]) -> LabelledRun | None:
        """Return what is known of a run; None where the judge had no opinion, or no label is there.

        Args:
            run_id: The run.
            arm: Its arm; None outside of a test.
            judged: The judge's score.
            labels: Scores by people and commands.
        """
        known = [(label.value, label.at) for label in labels if label.value is not None and label.name != judged.name]
        if judged.value is None or not known:
            return None
        answers = judged.details.get("answers") or ()
        return cls(
            run_id,
            judged.value,
            math.fsum(value for value, _ in known) / len(known),
            max(at for _, at in known),
            arm,
            judged.details.get("length"),
            tuple(tuple((str(check), bool(yes)) for check, yes in sample) for sample in answers),
        )


@frozen
class Agreement:
    """How far a judge agrees with labels.

    Attributes:
        runs: Labelled runs.
        alpha: Krippendorff's alpha; None where nothing varies, so that it has no value.
        low: Its lower bound, the 5th percentile of a bootstrap over runs; None likewise.
        difference: Mean of the judge's scores less that of the labels; None without a run.
    """

    runs: int
    alpha: float | None = None
    low: float | None = None
    difference: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)


@frozen
class Trust:
    """Whether a judge may decide.

    Attributes:
        is_trusted: Whether it may.
        why: Why, or why not, in a phrase.
        agreement: Agreement over all labels.
        recent: Agreement over the last `LAST_LABELS`.
    """

    is_trusted: bool
    why: str
    agreement: Agreement
    recent: Agreement

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)


@frozen
class PositionBias:
    """How often a judge says yes to what it is asked at one place of the list.

    Attributes:
        position: The place, from 1.
        answers: How many answers there are.
        yes: Share of yes among them.
        expected: What it would be if the place made no difference: the mean of the asked checks' own shares.
        is_clear: Whether the difference is more than chance gives (5 % level).
    """

    position: int
    answers: int
    yes: float
    expected: float
    is_clear: bool


@frozen
class Bias:
    """Where a judge errs by something other than the work.

    Attributes:
        length_correlation: Spearman's correlation of its error (score less label) with the length of what was
            delivered; None where it has no value. Above 0, it likes long texts.
        length_runs: Runs whose length is known.
        length_is_clear: Whether that is more than chance gives (5 % level).
        positions: Its answers by place in the list.
        arms: Agreement by arm: `control`, `treatment`, and `none` for runs outside of a test.
    """

    length_correlation: float | None
    length_runs: int
    length_is_clear: bool
    positions: tuple[PositionBias, ...]
    arms: Mapping[str, Agreement]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)


def alpha(units: Iterable[Sequence[float | None]]) -> float | None:
    """Return Krippendorff's alpha for interval data.

    One less the ratio of observed to expected disagreement, both as mean squared difference of pairs of values (K.
    Krippendorff, *Content Analysis: An Introduction to Its Methodology*, 4th ed., 2018, chapter 12; A. F. Hayes and K.
    Krippendorff, *Answering the Call for a Standard Reliability Measure for Coding Data*, 2007).

    Args:
        units: For each unit what each observer said; None for nothing. A unit with fewer than two values counts for
            nothing.

    Returns:
        None where no two values differ, or there is no pair of values.
    """
    kept = [values for unit in units if len(values := [one for one in unit if one is not None]) > 1]
    everything = [value for values in kept for value in values]
    expected = _squares(everything)
    if not expected > 0:
        return None
    observed = math.fsum(_squares(values) / (len(values) - 1) for values in kept)
    return 1 - observed * (len(everything) - 1) / expected


def _squares(values: Sequence[float]) -> float:
    """Return the sum of the squared differences of all ordered pairs of values."""
    if not values or min(values) == max(values):
        return 0.0
    mean = math.fsum(values) / len(values)
    return 2 * len(values) * math.fsum((value - mean) ** 2 for value in values)


def agreement(runs: Sequence[LabelledRun]) -> Agreement:
    """Return how far a judge agrees with labels; a function of the runs alone.

    The bound is from resampling the runs, with a fixed seed. A resample in which nothing varies counts as chance
    agreement, as Krippendorff has it.
    """
    if not runs:
        return Agreement(0)
    found = alpha((run.judged, run.label) for run in runs)
    difference = math.fsum(run.judged - run.label for run in runs) / len(runs)
    return Agreement(len(runs), found, None if found is None else _bound(runs), difference)


def _bound(runs: Sequence[LabelledRun]) -> float:
    import numpy as np

    both = np.array([(run.judged, run.label) for run in runs])
    both -= both.mean()  # a sum of squares is more exact around the mean
    drawn = np.random.default_rng(_SEED).integers(0, len(runs), (_RESAMPLES, len(runs)))
    values = 2 * len(runs)
    error = ((both[:, 0] - both[:, 1]) ** 2)[drawn].sum(axis=1)
    total, square = both.sum(axis=1)[drawn].sum(axis=1), (both**2).sum(axis=1)[drawn].sum(axis=1)
    spread = values * square - total**2  # half the squared differences of all ordered pairs
    varies = spread > 1e-12 * values**2
    ratio = np.divide(error * (values - 1), spread, out=np.ones(_RESAMPLES), where=varies)
    return float(np.percentile(1 - ratio, _BOUND_PERCENTILE))


def trust(runs: Iterable[LabelledRun], *, before: bool = False) -> Trust:
    """Return whether a judge may decide.

    It earns trust with `LEAST_LABELS` labelled runs, an alpha of `LEAST_ALPHA` over all of them and over the last
    `LAST_LABELS`, and a lower bound of `LEAST_BOUND`. It loses trust at an alpha below `LOST_ALPHA` over the last ones.
    An alpha without a value earns nothing, and ends nothing.

    Args:
        runs: Labelled runs of one team, all by the same rubric, model and version.
        before: Whether it was trusted so far.
    """
    known = sorted(runs, key=lambda run: (run.at, run.run_id))
    recent = agreement(known[-LAST_LABELS:])
    overall = agreement(known)
    is_trusted, why = _judged(overall, recent, before=before)
    return Trust(is_trusted, why, overall, recent)


def _judged(overall: Agreement, recent: Agreement, *, before: bool) -> tuple[bool, str]:
    if before and recent.runs < LEAST_LABELS:
        return True, f"trusted: {count(recent.runs, 'label')} of its last runs tell nothing else"
    if before and (recent.alpha is None or recent.alpha >= LOST_ALPHA):
        said = "its last labels do not vary, so they tell nothing" if recent.alpha is None else _alpha(recent)
        return True, f"trusted: {said}"
    if before:
        return False, f"not trusted any more: {_alpha(recent)} over the last {count(recent.runs, 'label')}"
    if overall.runs < LEAST_LABELS:
        return False, f"not trusted yet: {overall.runs} of {LEAST_LABELS} labels"
    if overall.alpha is None:
        return False, f"not trusted yet: its scores and the {overall.runs} labels do not vary, so they tell nothing"
    if overall.alpha < LEAST_ALPHA:
        return False, f"not trusted: {_alpha(overall)}, below {LEAST_ALPHA:g}"
    if overall.low is None or overall.low < LEAST_BOUND:
        bound = f"the lower bound {number(overall.low or 0)} is below {LEAST_BOUND:g}"
        return False, f"not trusted yet: {_alpha(overall)}, but {bound}"
    if recent.alpha is not None and recent.alpha < LEAST_ALPHA:
        return False, f"not trusted yet: {_alpha(recent)} over the last {count(recent.runs, 'label')}"
    return True, f"trusted: {_alpha(overall)} over {count(overall.runs, 'label')}"


def _alpha(found: Agreement) -> str:
    return "α without a value" if found.alpha is None else f"α {number(found.alpha)}"


def bias(runs: Iterable[LabelledRun]) -> Bias:
    """Return where a judge errs by the length of the text, by the place of a check in its list, and by arm."""
    known = list(runs)
    long = [(math.log(run.length), run.judged - run.label) for run in known if run.length]
    correlation = _spearman(long)
    by_arm: dict[str, list[LabelledRun]] = {}
    for run in known:
        by_arm.setdefault(run.arm or _NO_ARM, []).append(run)
    return Bias(
        correlation,
        len(long),
        correlation is not None and abs(correlation) * math.sqrt(len(long) - 1) > _CLEAR_Z,
        _positions(known),
        {arm: agreement(by_arm[arm]) for arm in (*ARMS, _NO_ARM) if arm in by_arm},
    )


def _spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return Spearman's rank correlation; None where one side does not vary, or there are fewer than three pairs."""
    if len(pairs) < 3:
        return None
    import numpy as np

    a, b = (_ranks([pair[side] for pair in pairs]) for side in (0, 1))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else None


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Return the rank of each value; equal ones share the mean of theirs."""
    import numpy as np

    _, place, times = np.unique(np.array(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(times)
    ranks: NDArray[np.float64] = (ends - (times - 1) / 2)[place]
    return ranks


def _positions(runs: Iterable[LabelledRun]) -> tuple[PositionBias, ...]:
    asked = [(place, check, yes) for run in runs for sample in run.answers for place, (check, yes) in enumerate(sample)]
    own: dict[str, list[bool]] = {}
    for _, check, yes in asked:
        own.setdefault(check, []).append(yes)
    shares = {check: sum(answers) / len(answers) for check, answers in own.items()}
    found = []
    for place in sorted({place for place, _, _ in asked}):
        here = [(yes, shares[check]) for at, check, yes in asked if at == place]
        share_of_yes, expected = (math.fsum(side) / len(here) for side in zip(*here, strict=True))
        error = math.sqrt(math.fsum(share * (1 - share) for _, share in here)) / len(here)
        found.append(
            PositionBias(place + 1, len(here), share_of_yes, expected, abs(share_of_yes - expected) > _CLEAR_Z * error)
        )
    return tuple(found)
