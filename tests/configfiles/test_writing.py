"""What is written back: single values, everything else as it was, all of it or nothing."""

from __future__ import annotations

import difflib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._settings import SettingsResolver
from victor_autotune_plugin._values import files
from victor_autotune_plugin._values.files import MOST_BACKUPS, write_atomically
from victor_autotune_plugin.configfiles import read_team_config, restore
from victor_autotune_plugin.errors import AutotuneError

STEP = """\
# A team of ours.
workflows:
  review:   # the one
    metadata: {owner: me, autotune: {mode: auto}}
    nodes:
    - id: team
      type: team
      formation: sequential   # guessed
      timeout_seconds:   300
      members:
        - id: security  # never without
          role: reviewer
          goal: |
            Find holes,
            all of them.

        # The second one
        - {id: style,   role: analyst}
        - id: 'tests'
          role: researcher
      next: [end]

    # what ends it
    - {id: end, type: agent, role: executor, goal: "Sum up: {{team}}"}
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., str]:
    """Write a change into a file with some text, and return the new text."""

    def written(text: str, change: Any, name: str = "flow.yaml", **asked: str) -> str:
        path = tmp_path / name
        path.write_bytes(text.encode())
        backup = read_team_config(path, **asked).write(change)
        assert backup is not None
        assert backup.read_bytes() == text.encode()
        return path.read_bytes().decode()

    return written


def changed(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[0] in "+-"]


def refused(path: Path, text: str, change: Any) -> str:
    """The error; the file must be as it was, and nothing beside it."""
    path.write_bytes(text.encode())
    with pytest.raises(AutotuneError) as caught:
        read_team_config(path).write(change)
    assert path.read_bytes() == text.encode()
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    return str(caught.value).replace(str(path), path.name)


def test_values_change_and_every_other_character_stays(written: Callable[..., str]) -> None:
    after = written(STEP, TeamPlan(formation="parallel", timeout_seconds=45.5))
    assert after == STEP.replace("sequential", "parallel").replace("300", "45.5")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark_stay(written: Callable[..., str], end: str, mark: str) -> None:
    text = mark + STEP.replace("\n", end)
    after = written(text, TeamPlan(formation="parallel", members=["style"], member_budgets={"style": 3}))
    assert after.startswith(mark + "# A team")
    assert after.count("\n") == after.count(end)


def test_members_leave_and_change_places_with_their_comments(written: Callable[..., str]) -> None:
    after = written(STEP, TeamPlan(members=["style", "security"]))
    start, second, end = (
        STEP.index(text) for text in ("        - id: security", "        # The second", "      next:")
    )
    third = STEP.index("        - id: 'tests'")
    security, style = STEP[start:second], STEP[second:third]
    assert after == STEP[:start] + style + security + STEP[end:]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("members: [{id: a}, {id: b}, {id: c}]", "members: [{id: c}, {id: a}]"),
        ("members:\n  - {id: a}\n  - {id: b}\n  - {id: c} # last", "members:\n  - {id: c} # last\n  - {id: a}\n"),
        ("members: [\n  {id: a}, # one\n  {id: b},\n  {id: c}]", "members: [\n  {id: c}, {id: a} # one\n  ]"),
        ("members:\n- a\n- b\n- c\nowner: me", "members:\n- c\n- a\nowner: me"),
        ("members: [a, b, c] # all\nmember_count: 3", "members: [c, a] # all\nmember_count: 2"),
    ],
)
def test_lists_of_members_in_any_form(written: Callable[..., str], before: str, after: str) -> None:
    assert written(before, TeamPlan(members=["c", "a"]), "team.yaml") == after


def test_json_stays_json_with_its_indent(written: Callable[..., str]) -> None:
    text = '{\n\t"formation": "sequential",\n\t"members": [\n\t\t"a",\n\t\t"b"\n\t],\n\t"owner": "\u00fc"\n}\n'
    after = written(text, TeamPlan(formation="parallel", members=["b"], timeout_seconds=9), "team.json")
    assert json.loads(after) == {"formation": "parallel", "timeout_seconds": 9, "members": ["b"], "owner": "\u00fc"}
    assert after.startswith('{\n\t"formation": "parallel",\n\t"timeout_seconds": 9,\n\t"members": [\n\t\t"b"\n\t]')


def test_a_plain_file_takes_a_configuration(written: Callable[..., str]) -> None:
    text = "# mine\nteam_formation: sequential # why\nmember_count: 5\ntotal_tool_budget: 50\n"
    change = {"formation": "parallel", "member_count": 4, "tool_budget": 30, "timeout_seconds": None}
    after = written(text, change, "team.yaml")
    assert after == "# mine\nteam_formation: parallel # why\nmember_count: 4\ntotal_tool_budget: 30\n"


def test_what_victors_keys_cannot_say_becomes_a_plan_in_the_metadata(
    written: Callable[..., str], tmp_path: Path
) -> None:
    after = written(STEP, TeamPlan(tool_budget=30, member_budgets={"style": 3}))
    plan = "teams: {team: {plan: {tool_budget: 30, member_budgets: {style: 3}}}}"
    assert after == STEP.replace("{mode: auto}", "{mode: auto, " + plan + "}").replace(
        "# guessed\n", "# guessed\n      total_tool_budget: 30\n"
    )
    found = read_team_config(tmp_path / "flow.yaml")
    assert found.settings.plan == TeamPlan(tool_budget=30, member_budgets={"style": 3})
    assert (found.config["tool_budget"], found.config["member_budgets"]) == (30, {"style": 3})


@pytest.mark.parametrize("mode", ["off", "observe", "suggest", "approve", "auto"])
def test_the_plan_that_was_written_is_the_one_that_the_plugin_reads(tmp_path: Path, mode: str) -> None:
    from victor_autotune_plugin._host.workflows import read_workflows

    path = tmp_path / "flow.yaml"
    path.write_text(STEP.replace("mode: auto", f"mode: {mode}"))
    found = read_team_config(path)
    change = TeamPlan(formation="reflection", tool_budget=9)
    notes = found.placement(change).notes
    assert ("it takes effect in the modes suggest, approve and auto" in str(notes)) == (mode in ("off", "observe"))
    found.write(change)
    workflow = read_workflows(path).workflow(None)
    assert workflow.nodes["team"].team_formation == "sequential"  # Victor would read reflection as this
    book = SettingsResolver.load(tmp_path, home=tmp_path / "nobody", environ={})
    settings = book.for_team("review", "team", workflow.metadata["autotune"])
    assert (settings.mode, settings.plan) == (mode, change)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("", "    metadata:\n      autotune:\n        teams:\n          team:\n            plan:\n"
             "              member_budgets: {style: 3}\n"),
        ("    metadata:\n", "    metadata: {autotune: {teams: {team: {plan: {member_budgets: {style: 3}}}}}}\n"),
        ("    metadata: null\n", "    metadata: {autotune: {teams: {team: {plan: {member_budgets: {style: 3}}}}}}\n"),
        ("    metadata: {}\n", "    metadata: {autotune: {teams: {team: {plan: {member_budgets: {style: 3}}}}}}\n"),
        ("    metadata:\n      autotune:\n        mode: auto # by itself\n      owner: me\n",
         "    metadata:\n      autotune:\n        mode: auto # by itself\n        teams:\n          team:\n"
         "            plan:\n              member_budgets: {style: 3}\n      owner: me\n"),
        ("    metadata:\n      autotune:\n        teams:\n          team:\n            plan:\n"
         "              # old\n              member_budgets:\n                style: 7\n                tests: 8\n",
         "    metadata:\n      autotune:\n        teams:\n          team:\n            plan:\n"
         "              # old\n              member_budgets: {style: 3}\n"),
    ],
)  # fmt: skip
def test_metadata_in_any_form(written: Callable[..., str], metadata: str, expected: str) -> None:
    text = STEP.replace("    metadata: {owner: me, autotune: {mode: auto}}\n", metadata)
    after = written(text, TeamPlan(member_budgets={"style": 3}))
    added = [line for line in after.splitlines(keepends=True) if line not in text.splitlines(keepends=True)]
    assert "".join(added) in expected
    assert expected in after
    assert read_team_config_text(after).settings.plan == TeamPlan(member_budgets={"style": 3})


def read_team_config_text(text: str) -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flow.yaml"
        path.write_text(text)
        return read_team_config(path)


def test_a_knob_that_the_fixed_plan_sets_is_changed_there_too_since_it_wins(written: Callable[..., str]) -> None:
    text = STEP.replace(
        "{mode: auto}", "{mode: auto, plan: {formation: reflection, member_budgets: {tests: 5, style: 2}}}"
    )
    after = written(text, TeamPlan(formation="parallel", members=["style", "security"]))
    found = read_team_config_text(after)
    assert found.spec.formation == "parallel"
    assert found.settings.plan == TeamPlan(formation="parallel", member_budgets={"style": 2})


FIXED = "plan: {formation: reflection, tool_budget: 9, member_budgets: {tests: 5}}"


@pytest.mark.parametrize(
    "text",
    [
        STEP,
        STEP.replace("300", "300\n      total_tool_budget: 50"),
        STEP.replace("mode: auto", FIXED),
        STEP.replace("mode: auto", "plan: {members: [tests]}"),
    ],
)
def test_a_configuration_that_was_read_can_be_written_and_changes_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(text)
    found = read_team_config(path)
    assert found.placement(found.config).is_empty
    assert found.write(found.config) is None
    assert path.read_text() == text
    assert found.write(TeamPlan()) is None


ALIASES = """\
times: &slow 300
base: &base {formation: sequential, timeout_seconds: 60}
people: &people
  - {id: a}
  - {id: b}
workflows:
  v:
    nodes:
      - {id: one, type: team, timeout_seconds: *slow, members: *people}
  w:
    nodes:
      - <<: *base
        id: two
        type: team
        members: *people
  x:
    nodes:
      - {id: three, type: team, timeout_seconds: &limit 9, members: [{id: a}]}
      - {id: four, type: team, timeout_seconds: *limit, members: [{id: a}]}
"""


TWO = "        id: two\n        type: team\n"


@pytest.mark.parametrize(
    ("team", "change", "lines"),
    [
        ("one", TeamPlan(timeout_seconds=5), [("timeout_seconds: *slow", "timeout_seconds: 5")]),
        ("two", TeamPlan(timeout_seconds=5), [(TWO, f"{TWO}        timeout_seconds: 5\n")]),
        ("four", TeamPlan(timeout_seconds=5), [("*limit", "5")]),
    ],
)  # fmt: skip
def test_an_alias_is_replaced_and_its_anchor_stays(
    written: Callable[..., str], team: str, change: TeamPlan, lines: list[tuple[str, str]]
) -> None:
    expected = ALIASES
    for old, new in lines:
        assert expected.count(old) == 1
        expected = expected.replace(old, new)
    assert written(ALIASES, change, team_id=team) == expected


@pytest.mark.parametrize(
    ("team", "change", "line"),
    [
        ("one", TeamPlan(members=["a"]), 9),
        ("two", TeamPlan(members=["b"]), 15),
        ("three", TeamPlan(timeout_seconds=5), 18),
    ],
)
def test_what_an_alias_shares_with_another_place_is_not_changed(
    tmp_path: Path, team: str, change: TeamPlan, line: int
) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(ALIASES)
    with pytest.raises(AutotuneError, match=rf"flow\.yaml:{line}: '.*' is shared with another place") as caught:
        read_team_config(path, team).write(change)
    assert "\n  write the value out at this place" in str(caught.value)
    assert path.read_text() == ALIASES


def test_metadata_that_workflows_share_is_not_changed(tmp_path: Path) -> None:
    text = (
        "common: &common {autotune: {mode: auto}}\nworkflows:\n  w:\n    metadata: *common\n"
        "    nodes: [{id: t, type: team, members: [{id: a}]}]\n"
    )
    assert "is shared with another place" in refused(tmp_path / "f.yaml", text, TeamPlan(member_budgets={"a": 1}))
    merged = text.replace("metadata: *common", "metadata: {<<: *common, owner: me}")
    assert "is shared with another place" in refused(tmp_path / "f.yaml", merged, TeamPlan(member_budgets={"a": 1}))


def test_sub_teams_are_the_plans_and_hold_every_member_once(tmp_path: Path) -> None:
    groups = [["security"], ["style", "tests"]]
    placement = read_team_config_text(STEP).placement(TeamPlan(sub_teams=groups))
    assert (placement.own, placement.plan) == ({}, {"sub_teams": groups})
    (tmp_path / "flow.yaml").write_text(STEP)
    text = read_team_config(tmp_path / "flow.yaml").rendered(TeamPlan(sub_teams=groups))
    assert "{plan: {sub_teams: [[security], [style, tests]]}}" in text
    assert "don't hold each member once" in refused(tmp_path / "flow.yaml", STEP, TeamPlan(sub_teams=[["style"]]))


def test_only_what_differs_from_a_configuration_that_was_read_is_written(written: Callable[..., str]) -> None:
    text = STEP.replace("300", "300\n      total_tool_budget: 50")
    config = dict(read_team_config_text(text).config)
    after = written(text, config | {"formation": "parallel"})
    assert after == text.replace("sequential", "parallel")


def test_a_formation_that_victor_would_misread_in_the_step_is_fixed_in_the_plan(written: Callable[..., str]) -> None:
    after = written(STEP.replace("sequential", "reflection"), TeamPlan(formation="reflection"))
    found = read_team_config_text(after)
    assert found.settings.plan == TeamPlan(formation="reflection")
    after = written(after, TeamPlan(formation="parallel"))
    found = read_team_config_text(after)
    assert found.settings.plan == TeamPlan(formation="parallel")
    assert found.spec.formation == "parallel"


def test_a_step_never_keeps_a_formation_that_its_members_cannot_form(tmp_path: Path) -> None:
    text = STEP.replace("sequential", "hierarchical").replace("analyst}", "analyst, is_manager: true}")
    text = text.replace("mode: auto", "plan: {formation: parallel}")
    assert "can't form 'hierarchical'" in refused(tmp_path / "flow.yaml", text, TeamPlan(members=["tests", "security"]))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (TeamPlan(members=["style", "nobody"]), ("has no member 'nobody'", "Known here: security, style, tests.")),
        (TeamPlan(member_budgets={"nobody": 1}), ("has no member 'nobody'",)),
        (TeamPlan(members=[]), ("needs at least one member",)),
        (TeamPlan(members=["style", "style"]), ("each once",)),
        (TeamPlan(formation="hierarchical"), ("can't form 'hierarchical'", "It can form: sequential, parallel")),
        (TeamPlan(formation="reflection", members=["style"]), ("can't form 'reflection'",)),
        ({"formation": "ring"}, ("'ring' is not a known formation",)),
        ({"formaton": "parallel"}, ("unknown key 'formaton'", "`formation`?")),
        ({"timeout_seconds": -1}, ("timeout_seconds", "out of range")),
        ({"member_count": 2}, ("does not say who stays", "Give `members`")),
    ],
)
def test_a_change_that_cannot_be_is_refused(tmp_path: Path, change: Any, told: tuple[str, ...]) -> None:
    said = refused(tmp_path / "flow.yaml", STEP, change)
    for part in told:
        assert part in said


def test_a_limit_that_the_file_sets_is_not_crossed(tmp_path: Path) -> None:
    text = STEP.replace("{mode: auto}", "{limits: {max_tool_budget: 20, protected_members: [security]}}")
    assert "more than max_tool_budget" in refused(tmp_path / "f.yaml", text, TeamPlan(tool_budget=21))
    assert "leaves out security" in refused(tmp_path / "f.yaml", text, TeamPlan(members=["style"]))


@pytest.mark.parametrize("name", ["../../etc", "[red]x[/red]", "a\x1b[31mb", "x\ny", "off", "{{a}}", "&w", 'say "hi"'])
def test_hostile_names_are_quoted(written: Callable[..., str], name: str) -> None:
    node = {"id": name, "type": "team", "members": [{"id": name}, {"id": "b"}]}
    text = "workflows:\n  " + json.dumps(name) + ":\n    nodes:\n      - " + json.dumps(node) + "\n"
    after = written(text, TeamPlan(formation="parallel", member_budgets={name: 3}))
    found = read_team_config_text(after)
    assert found.settings.plan == TeamPlan(member_budgets={name: 3})
    assert found.spec.formation == "parallel"
    assert not any(ord(char) < 32 and char != "\n" for char in after)


def test_a_link_stays_a_link_and_mode_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "flow.yaml"
    real.write_text(STEP)
    real.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(real)
    backup = read_team_config(link).write(TeamPlan(formation="parallel"))
    assert link.is_symlink()
    assert "formation: parallel" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert backup == tmp_path / "link.yaml.bak"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o640
    assert restore(backup) == link
    assert link.is_symlink()
    assert real.read_text() == STEP


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(STEP)
    os.chown(path, 1234, 4321)
    read_team_config(path).write(TeamPlan(formation="parallel"))
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)


def test_backups_are_not_overwritten_and_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(STEP)
    first = read_team_config(path).write(TeamPlan(formation="parallel"))
    second = read_team_config(path).write(TeamPlan(formation="pipeline"))
    assert read_team_config(path).write(TeamPlan(formation="consensus"), backup=False) is None
    assert (first, second) == (tmp_path / "flow.yaml.bak", tmp_path / "flow.yaml.bak-2")
    assert restore(second) == path
    assert read_team_config(path).config["formation"] == "parallel"
    with pytest.raises(AutotuneError, match="is not a backup"):
        restore(path)
    with pytest.raises(AutotuneError, match="No such file"):
        restore(tmp_path / "other.yaml.bak")


def test_a_file_that_was_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(STEP)
    found = read_team_config(path)
    path.write_text(STEP + "# mine\n")
    with pytest.raises(AutotuneError, match=r"was changed meanwhile\n  Read it again"):
        found.write(TeamPlan(formation="parallel"))
    assert path.read_text() == STEP + "# mine\n"


@pytest.mark.parametrize("call", ["fsync", "chmod"])
def test_a_write_that_fails_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(STEP)
    found = read_team_config(path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(AutotuneError, match="can't be written: No space left on device"):
        found.write(TeamPlan(formation="parallel"))
    assert path.read_text() == STEP
    assert [one.name for one in tmp_path.iterdir()] == ["flow.yaml"]


def test_a_file_that_may_not_be_written_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(STEP)
    monkeypatch.setattr(files.os, "access", lambda *_: False)  # root may write everything
    with pytest.raises(AutotuneError, match="can't be written: Permission denied"):
        read_team_config(path).write(TeamPlan(formation="parallel"))
    assert [one.name for one in tmp_path.iterdir()] == ["flow.yaml"]


PIECES = [
    "\n",
    "  ",
    "- ",
    "# c\n",
    ": ",
    "*x",
    "&x ",
    "{",
    "}",
    "[",
    "]",
    ",",
    '"',
    "|\n",
    "\t",
    "\r\n",
    "null",
    "<<: *x\n",
    "---\n",
]
TEXTS = [
    STEP,
    ALIASES,
    "formation: parallel\nmembers: [a, b]\nmember_count: 2\n",
    '{"formation": "parallel",\n "members": ["a"]}',
]


@examples(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.sampled_from(TEXTS),
    damage=st.lists(st.tuples(st.floats(0, 0.999), st.sampled_from(PIECES), st.integers(0, 4)), max_size=3),
    formation=st.sampled_from([None, "parallel", "reflection"]),
    timeout=st.sampled_from([None, 5, 7.5]),
    order=st.permutations(range(3)),
)
def test_a_damaged_file_is_refused_or_changed_as_wanted(
    tmp_path: Path, text: str, damage: Any, formation: Any, timeout: Any, order: Any
) -> None:
    for where, piece, cut in damage:
        at = int(where * len(text))
        text = text[:at] + piece + text[at + cut :]
    path = tmp_path / "flow.yaml"
    path.write_bytes(text.encode())
    try:
        found = read_team_config(path, "three" if "three" in text else None)
        ids = [one["id"] if isinstance(one, dict) else one for one in found.config.get("members", [])]
        members = [ids[number] for number in order if number < len(ids)] or None
        change = TeamPlan(formation=formation, members=members, timeout_seconds=timeout)
        found.write(change, backup=False)
    except AutotuneError:
        assert path.read_bytes() == text.encode()
        return
    after = read_team_config(path, found.team_id, found.workflow).config
    assert (formation, timeout) == (formation and after["formation"], timeout and after["timeout_seconds"])
    assert [one["id"] if isinstance(one, dict) else one for one in after.get("members", [])] == (members or [])
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    written = path.read_text()
    # A line in quotes that begins so is a part of the value, and goes with it.
    gone = [line for line in comments if line not in written and line.strip() not in str(yaml.safe_load(text))]
    assert not gone


def test_equal_backups_are_one_and_many_do_not_pile_up(tmp_path: Path) -> None:
    path = tmp_path / "team.yaml"
    path.write_text("formation: sequential\n")
    first = write_atomically(path, b"formation: parallel\n", backup=True)
    path.write_text("formation: sequential\n")
    assert write_atomically(path, b"formation: parallel\n", backup=True) == first
    kept = [write_atomically(path, f"timeout_seconds: {number}\n".encode(), backup=True) for number in range(30)]
    assert len(list(tmp_path.glob("team.yaml.bak*"))) == MOST_BACKUPS
    assert kept[-1] is not None
    assert kept[-1].read_text() == "timeout_seconds: 28\n"
    linked = tmp_path / "other.yaml"
    linked.write_text("a: 1\n")
    (tmp_path / "other.yaml.bak").symlink_to(linked)
    assert write_atomically(linked, b"a: 2\n", backup=True) == tmp_path / "other.yaml.bak-2"
