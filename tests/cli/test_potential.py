"""`potential`: what could be saved a week, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attrs import evolve

from victor_autotune_plugin._model.run import MemberOutcome

from .conftest import Said
from .scored_runs import ended, write_runs

Call = Callable[..., Said]


def test_a_team_of_unknown_data_flow_is_told_what_would_open_it(call: Call, tmp_path: Path) -> None:
    def run(number: int) -> object:
        made = ended(number)
        names = [member.id for member in made.spec.members]
        return evolve(made, members=[MemberOutcome(name, "", True, True, 5.0 + number % 3) for name in names])

    write_runs(tmp_path, [run(number) for number in range(1, 21)], [], ())
    said = call("potential")
    assert said.code == 0, said.err
    assert "Potential" in said.out
    assert "quality.scorers" in said.out
    found = call("potential", "team", "--json").data["teams"][0]
    assert (found["plan"], found["improvement"], found["usd_per_week"]) == (None, None, None)
    assert any("dataflow" in one or "as configured" in one for one in found["missing"])


def test_without_a_run_there_is_nothing_to_tell(call: Call) -> None:
    assert "No team has run here yet." in call("potential").out
    assert call("potential", "--json").data == {"teams": []}
