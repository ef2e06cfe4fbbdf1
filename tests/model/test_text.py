"""Numbers, signs, percentages, durations, money and counts as people read them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from victor_autotune_plugin._model import text
from victor_autotune_testing.stored import change

UNKNOWN = [None, math.nan]


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (text.percent(0.25), "25 %"),
        (text.percent(0.054), "5.4 %"),
        (text.percent(0.05), "5 %"),
        (text.percent(0.0996), "10 %"),
        (text.percent(0.09949), "9.9 %"),
        (text.percent(0.0004), "0 %"),
        (text.percent(1.0), "100 %"),
        (text.percent(-0.0001), "0 %"),
        (text.percent(-0.12), "−12 %"),
        (text.change(-0.55), "−55 %"),
        (text.change(0.123), "+12 %"),
        (text.change(0.0), "0 %"),
        (text.change(-0.054), "−5.4 %"),
        (text.change(math.inf), "unbounded"),
        (text.interval(-1.0, -0.11), "−100 % to −11 %"),
        (text.interval(None, 0.03), "unbounded to +3 %"),
        (text.interval(-0.2, math.inf), "−20 % to unbounded"),
        (text.points(-0.1), "−10 points"),
        (text.points(-0.01), "−1 point"),
        (text.points(0.025), "+2.5 points"),
        (text.points(0.0), "0 points"),
        (text.number(-0.5), "−0.50"),
        (text.number(-0.001), "0.00"),
        (text.number(33.84, 1), "33.8"),
        (text.signed(0.5), "+0.50"),
        (text.signed(-0.5), "−0.50"),
        (text.rounded(0.012345), "0.0123"),
        (text.rounded(1234.5), "1234"),
        (text.rounded(30.0), "30"),
        (text.rounded(-2.0), "−2"),
        (text.seconds(0.781), "0.78 s"),
        (text.seconds(12.34), "12.3 s"),
        (text.seconds(99.96), "1 min 40 s"),
        (text.seconds(125), "2 min 05 s"),
        (text.seconds(3725), "1 h 02 min"),
        (text.seconds(-3725), "−1 h 02 min"),
        (text.seconds(-0.001), "0.00 s"),
        (text.usd(0.01234), "0.0123 USD"),
        (text.usd(12.5), "12.50 USD"),
        (text.usd(0.99996), "1.00 USD"),
        (text.count(1, "run"), "1 run"),
        (text.count(0, "run"), "0 runs"),
        (text.count(12_000, "run"), "12,000 runs"),
        (text.listed([]), ""),
        (text.listed(["a"]), "a"),
        (text.listed(["a", "b"], "or"), "a or b"),
        (text.listed("abc"), "a, b and c"),
    ],
)
def test_shows(shown: str, wanted: str) -> None:
    assert shown == wanted


@pytest.mark.parametrize("show", [text.percent, text.number, text.signed, text.rounded, text.seconds, text.usd])
@pytest.mark.parametrize("value", UNKNOWN)
def test_a_figure_that_is_not_known_is_a_dash(show: Callable[[float | None], str], value: float | None) -> None:
    assert show(value) == text.DASH


@pytest.mark.parametrize("show", [text.change, text.points])
@pytest.mark.parametrize("value", UNKNOWN)
def test_a_change_that_is_not_known_says_so(show: Callable[[float | None], str], value: float | None) -> None:
    assert show(value) == "unknown"


@given(st.floats(-100, 100))
def test_a_change_and_its_opposite_differ_in_the_sign_alone(share: float) -> None:
    there, back = text.change(share), text.change(-share)
    assert there.lstrip("+−") == back.lstrip("+−")
    assert "-" not in there
    assert (there == back) is there.startswith("0 ")


def test_what_steers_a_terminal_is_shown_as_an_escape() -> None:
    assert text.clean("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\nc"
    assert text.clean("a\nb", keep_lines=True) == "a\nb"


def test_each_character_that_shows_nothing_is_an_escape_and_each_other_one_stays() -> None:
    unseen = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    for char in map(chr, range(0x3100)):
        assert (text.clean(char) == char) is (unicodedata.category(char) not in unseen)
        assert text.clean(f"a{char}b").startswith("a")
    assert text.clean("a\u00a0b\u3000") == "a\u00a0b\u3000"  # spaces that are not the usual one


def test_a_time_beyond_the_calendar_is_a_dash() -> None:
    assert text.when(1e15) == text.when(None) == text.DASH
    assert len(text.when(1_769_860_800.0)) == len("2026-01-31 12:00")


def test_what_a_person_applied_is_not_called_promoted() -> None:
    made = change()
    assert text.action_text(made) == "promoted"  # by maria, who approved it
    assert text.action_text(evolve(made, actor="person", by=None)) == "applied"
    assert text.action_text(evolve(made, actor="auto", by=None)) == "promoted"
    assert text.action_text(evolve(made, action="probation")) == "on probation"
