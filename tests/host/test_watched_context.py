"""A custom member's context notes whose values it reads, and is otherwise the dict that it was."""

from __future__ import annotations

import asyncio
import copy
import gc
import io
import json
import pickle
import pprint
from collections.abc import Awaitable, Callable
from types import FunctionType, ModuleType
from typing import Any

import pydantic
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._dataflow.trace import ReadValue, RunTrace, Sent, Walked, Wrote
from victor_autotune_plugin._host.notes import MemberNotes, RunNotes
from victor_autotune_plugin._host.shared_values import ReadWatch, SharedValues, digest
from victor_autotune_plugin._host.watched_context import WatchedContext
from victor_autotune_testing.realvictor import GOAL, make_team

from .conftest import Plugin

Body = Callable[[str, Any], Awaitable[Any]]


class Custom:
    """A custom participant."""

    role = None
    persona = None

    def __init__(self, name: str, body: Body) -> None:
        self.id, self._body = name, body

    async def execute_task(self, task: str, context: dict[str, Any]) -> Any:
        return await self._body(task, context)

    async def receive_message(self, _message: Any) -> None:
        return None


@pytest.fixture
def traces(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> list[RunTrace]:
    """The traces of the runs, in the order of their ends."""
    found: list[RunTrace] = []
    monkeypatch.setattr(plugin.runtime.loop, "traced", lambda _run_id, trace: found.append(trace), raising=False)
    return found


async def run(members: list[Custom], formation: str = "sequential", **context: Any) -> Any:
    from victor.teams import UnifiedTeamCoordinator

    team = make_team(*["planner"] * len(members), formation=formation, shared_context=context)
    return await UnifiedTeamCoordinator(None).execute_team_config(team, members=members)


def says(text: str) -> Body:
    async def body(_task: str, _context: Any) -> str:
        return text

    return body


def uses(use: Callable[[Any], Any]) -> Body:
    async def body(_task: str, context: Any) -> str:
        return f"used {use(context)}"

    return body


def reads(trace: RunTrace) -> set[tuple[str, tuple[str, ...]]]:
    return {(one.member, one.writers) for one in trace.entries if isinstance(one, ReadValue)}


def walks(trace: RunTrace) -> set[tuple[str, tuple[str, ...]]]:
    return {(one.member, one.writers) for one in trace.entries if isinstance(one, Walked)}


READS: dict[str, Callable[[Any], Any]] = {
    "[]": lambda context: context["previous_output"],
    "get": lambda context: context.get("previous_output", ""),
    "in": lambda context: "previous_output" in context,
    "pop": lambda context: context.pop("previous_output"),
    "setdefault": lambda context: context.setdefault("previous_output", ""),
    "format_map": lambda context: "{previous_output}".format_map(context),
    "%": lambda context: "%(previous_output)s" % context,  # noqa: UP031
    "previous_agent": lambda context: context["previous_agent"],
    "a loop that looks for it": lambda context: [context[key] for key in context if key == "previous_output"],
}


@pytest.mark.parametrize("formation", ["sequential", "pipeline"])
@pytest.mark.parametrize("read", READS)
async def test_reading_what_another_member_wrote_is_noted(traces: list[RunTrace], formation: str, read: str) -> None:
    if (formation, read) == ("pipeline", "previous_agent"):
        pytest.skip("Victor's pipeline does not name the member before")
    members = [Custom("a", says("the first")), Custom("b", says("the second")), Custom("c", uses(READS[read]))]
    result = await run(members, formation)
    assert result.success
    assert reads(traces[0]) == {("c", ("b",))}


WALKS: dict[str, Callable[[Any], Any]] = {
    "dict()": dict,
    "**": lambda context: {**context},
    "as keywords": lambda context: (lambda **given: given)(**context),
    "|": lambda context: context | {"x": 1},
    "| from the left": lambda context: {"x": 1} | context,
    "copy": lambda context: context.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda context: pickle.loads(pickle.dumps(context)),
    "json": lambda context: json.loads(json.dumps(context)),
    "json to a file": lambda context: json.dump(context, io.StringIO()),
    "json, indented": lambda context: json.dumps(context, indent=1, sort_keys=True),
    "yaml.safe_dump": lambda context: yaml.safe_load(yaml.safe_dump(context)),
    "yaml.dump": lambda context: yaml.safe_load(yaml.dump(context)),
    "repr": repr,
    "str": str,
    "format": lambda context: f"{context}",
    "pprint": pprint.pformat,
    "list": list,
    "keys": lambda context: list(context.keys()),
    "values": lambda context: list(context.values()),
    "items": lambda context: list(context.items()),
    "a loop": lambda context: {key: context[key] for key in context},
    "reversed": lambda context: list(reversed(context)),
    "==": lambda context: context == {},
    "update": lambda context: {}.update(context),
}


@pytest.mark.parametrize("walk", WALKS)
async def test_walking_over_the_context_is_noted_with_all_who_wrote(traces: list[RunTrace], walk: str) -> None:
    members = [Custom("a", says("the first")), Custom("b", says("the second")), Custom("c", uses(WALKS[walk]))]
    result = await run(members)
    assert result.success, result.member_results["c"].error
    assert walks(traces[0]) == {("c", ("b",))}
    assert reads(traces[0]) == set()


@pytest.mark.parametrize(
    "use",
    [
        lambda context: context["question"],
        lambda context: context.get("nothing"),
        lambda context: context["team_id"],
        lambda context: context["effective_formation"],
        lambda context: context["files"],
        len,
        bool,
        lambda context: isinstance(context, dict),
        lambda context: context.update(mine=1),
        lambda _context: None,
    ],
)
@pytest.mark.parametrize("formation", ["sequential", "parallel"])
async def test_what_the_caller_gave_and_what_a_member_writes_itself_is_no_use_of_others(
    traces: list[RunTrace], use: Callable[[Any], Any], formation: str
) -> None:
    members = [Custom(name, uses(use)) for name in "abc"]
    await run(members, formation, question="?", files=["a.py"])
    assert reads(traces[0]) == set()
    assert walks(traces[0]) == set()


async def test_the_caller_may_give_a_previous_output_of_its_own(traces: list[RunTrace]) -> None:
    await run(
        [Custom("a", uses(lambda context: context["previous_output"])), Custom("b", says("x"))], previous_output="0"
    )
    assert reads(traces[0]) == set()


async def test_the_output_of_a_sub_agent_is_read_too(traces: list[RunTrace], orchestrator: Any) -> None:
    from victor.teams import UnifiedTeamCoordinator

    coordinator = UnifiedTeamCoordinator(orchestrator)
    team = make_team("researcher", "planner", formation="sequential")
    (first, _) = coordinator._adapt_team_members(team.members)
    second = Custom("m1", uses(lambda context: context["previous_output"]))
    await coordinator.execute_team_config(team, members=[first, second])
    assert reads(traces[0]) == {("m1", ("m0",))}
    assert traces[0].open == {"m1": {"custom"}}


CHANGES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "list": ([], lambda value: value.append("x")),
    "list in place": (["a", "b"], lambda value: value.reverse()),
    "dict": ({}, lambda value: value.update(found=1)),
    "set": (set(), lambda value: value.add(1)),
    "nested": ({"log": {"lines": []}}, lambda value: value["log"]["lines"].append("x")),
    "many": ([0] * 100_000, lambda value: value.append(1)),
}


@pytest.mark.parametrize("formation", ["sequential", "parallel", "pipeline"])
@pytest.mark.parametrize("change", CHANGES)
async def test_reading_what_another_member_changed_in_place_is_noted(
    traces: list[RunTrace], change: str, formation: str
) -> None:
    value, apply = CHANGES[change]
    changed = asyncio.Event()

    async def writes(_task: str, context: Any) -> str:
        apply(context["shared"])
        changed.set()
        return "written"

    async def reader(_task: str, context: Any) -> str:
        await changed.wait()
        return f"{len(context['shared'])}"

    await run([Custom("a", writes), Custom("b", reader)], formation, shared=copy.deepcopy(value))
    assert ("b", ("a",)) in reads(traces[0])


async def test_a_value_held_before_another_member_changed_it_may_have_been_used(traces: list[RunTrace]) -> None:
    held, changed = asyncio.Event(), asyncio.Event()

    async def writes(_task: str, context: Any) -> str:
        await held.wait()
        context["shared"].append("x")
        changed.set()
        return "written"

    async def reader(_task: str, context: Any) -> str:
        shared = context["shared"]
        held.set()
        await changed.wait()
        return str(len(shared))

    await run([Custom("a", writes), Custom("b", reader)], "parallel", shared=[])
    assert ("b", ("a",)) in walks(traces[0])


async def test_only_looking_at_a_shared_value_is_no_use_of_others(traces: list[RunTrace]) -> None:
    await run([Custom(name, uses(lambda context: len(context["shared"]))) for name in "ab"], shared=[1, 2])
    assert reads(traces[0]) == set()


async def test_a_custom_reflection_is_recorded_and_noted(plugin: Plugin, traces: list[RunTrace]) -> None:
    async def generate(_task: str, context: Any) -> str:
        context["draft"] = ["one"]
        return "a draft of the text"

    async def criticise(task: str, context: Any) -> str:
        assert "a draft of the text" in task
        return f"{context['draft']} VERDICT: SATISFIED"

    result = await run([Custom("g", generate), Custom("c", criticise)], "reflection")
    assert result.success
    assert result.shared_context["draft"] == ["one"]
    (trace,) = traces
    assert trace.executions == {"g": 1, "c": 1}
    assert trace.open == {"g": {"custom"}, "c": {"custom"}}
    assert reads(trace) == {("c", ("g",))}
    assert [(one.id, one.success, one.finished) for one in plugin.run.members] == [("g", True, True), ("c", True, True)]
    assert all(one.duration_seconds > 0 for one in plugin.run.members)


async def test_a_custom_member_of_a_reflection_that_fails_is_recorded_as_failed(
    plugin: Plugin, traces: list[RunTrace]
) -> None:
    async def fails(_task: str, _context: Any) -> str:
        raise OSError("no")

    await run([Custom("g", says("a draft")), Custom("c", fails)], "reflection")
    outcomes = {one.id: (one.success, one.error_class) for one in plugin.run.members}
    assert outcomes == {"g": (True, None), "c": (False, "OSError")}
    assert traces[0].executions == {"g": 3, "c": 3}


@pytest.mark.parametrize("where", ["writers", "begin", "end"])
async def test_a_fault_of_a_watched_context_reaches_no_member(
    traces: list[RunTrace], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a fault of the test's")

    monkeypatch.setattr(SharedValues, where, fail)
    members = [
        Custom("a", says("the first")),
        Custom("b", uses(lambda context: (context["previous_output"], dict(context)))),
    ]
    result = await run(members)
    assert result.success
    assert "the first" in result.member_results["b"].output
    assert traces == []
    assert len(failsafe.seen()) == 1
    failsafe.forget()


async def test_messages_on_victors_bus_are_noted(traces: list[RunTrace]) -> None:
    from victor.teams import UnifiedTeamCoordinator
    from victor.teams.types import AgentMessage, MessageType

    async def talks(_task: str, _context: Any) -> str:
        for sender, recipient in (("a", "b"), ("a", None), ("coordinator", None)):
            message = AgentMessage(sender, "hello", MessageType.TASK, recipient_id=recipient)
            await (coordinator.broadcast(message) if recipient is None else coordinator.send_message(message))
        return "told"

    coordinator = UnifiedTeamCoordinator(None)
    members = [Custom("a", talks), Custom("b", says("heard"))]
    await coordinator.execute_team_config(make_team("planner", "planner", formation="sequential"), members=members)
    for member in members:
        coordinator.add_member(member)
    await coordinator.execute_task(GOAL, {})
    for trace in traces:
        sent = [one for one in trace.entries if isinstance(one, Sent)]
        assert sent == [Sent("a", "b"), Sent("a", None)]
    assert len(traces) == 2


async def test_a_sub_agent_gets_the_dict_that_victor_made(
    traces: list[RunTrace], orchestrator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from victor.teams.types import TeamParticipant

    seen: list[type] = []
    original = TeamParticipant._merged_context

    def merged(self: Any, context: Any) -> Any:
        made = original(self, context)
        seen.append(type(made))
        return made

    monkeypatch.setattr(TeamParticipant, "_merged_context", merged)
    await run([Custom("a", says("x"))])
    assert seen == [dict]
    assert traces[0].open == {"a": {"custom"}}


@pytest.mark.parametrize("plugin_settings", [{"mode": "off"}], ids=["off"])
async def test_a_custom_member_gets_a_plain_dict_where_the_plugin_is_off(plugin: Plugin) -> None:
    seen: list[Any] = []

    async def body(_task: str, context: Any) -> str:
        seen.append(type(context))
        return "x"

    await run([Custom("a", body)])
    assert seen == [dict]


# --- the dict itself


def watched(values: dict[Any, Any], shared: dict[Any, Any] | None = None) -> WatchedContext:
    run_notes = RunNotes(["a", "b"], "goal", {}, {})
    return WatchedContext.of(values, ReadWatch(MemberNotes(run_notes, "b", None), SharedValues({}, {}), shared))


class Model(pydantic.BaseModel):
    context: dict[str, Any]
    strict: dict[str, int] = pydantic.Field(default_factory=dict)


def test_pydantic_takes_it_for_a_dict() -> None:
    made = Model.model_validate({"context": watched({"a": [1]}), "strict": watched({"b": 2})})
    assert made.model_dump() == {"context": {"a": [1]}, "strict": {"b": 2}}
    assert json.loads(made.model_dump_json()) == made.model_dump()
    assert pydantic.TypeAdapter(dict[str, int]).validate_python(watched({"b": 2}), strict=True) == {"b": 2}


def test_yaml_writes_it_with_every_dumper() -> None:
    class Own(yaml.SafeDumper):
        pass

    Own.add_representer(complex, lambda dumper, value: dumper.represent_str(str(value)))
    context = watched({"b": [1, {"c": 2}], "a": None})
    for dumper in (yaml.SafeDumper, yaml.Dumper, getattr(yaml, "CSafeDumper", yaml.SafeDumper), Own):
        assert yaml.dump(context, Dumper=dumper) == yaml.dump(dict(context), Dumper=dumper)


def test_copies_are_plain_dicts() -> None:
    context = watched({"a": [1]})
    for made in (copy.copy(context), copy.deepcopy(context), context.copy(), pickle.loads(pickle.dumps(context))):
        assert type(made) is dict
        assert made == {"a": [1]}
    assert copy.copy(context)["a"] is context["a"]
    assert copy.deepcopy(context)["a"] is not context["a"]
    assert type(context | {}) is type({} | context) is dict


def test_a_pattern_matches_it() -> None:
    match watched({"kind": "x", "rest": 1}):
        case {"kind": found, **rest}:
            assert (found, rest) == ("x", {"rest": 1})
        case _:
            raise AssertionError


KEYS = st.sampled_from(["a", "b", "c", "d", 1, None])
VALUES = st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=3)
DICTS = st.dictionaries(KEYS, VALUES, max_size=4)
OPERATIONS = st.one_of(
    st.tuples(st.just("set"), KEYS, VALUES),
    st.tuples(st.sampled_from(["del", "get", "item", "pop", "in", "setdefault"]), KEYS),
    st.tuples(st.sampled_from(["get2", "pop2", "setdefault2"]), KEYS, VALUES),
    st.tuples(st.sampled_from(["update", "or", "ror", "ior", "eq", "ne", "update_pairs"]), DICTS),
    st.tuples(
        st.sampled_from(
            [
                "popitem",
                "clear",
                "keys",
                "values",
                "items",
                "iter",
                "reversed",
                "repr",
                "len",
                "bool",
                "copy",
                "dict",
                "star",
                "keywords",
                "sorted",
            ]
        )
    ),
)


def apply(target: Any, operation: tuple[Any, ...]) -> Any:
    name, *given = operation
    actions: dict[str, Callable[..., Any]] = {
        "set": lambda key, value: target.__setitem__(key, value),
        "del": lambda key: target.__delitem__(key),
        "get": lambda key: target.get(key),
        "item": lambda key: target[key],
        "pop": lambda key: target.pop(key),
        "in": lambda key: key in target,
        "setdefault": lambda key: target.setdefault(key),
        "get2": lambda key, value: target.get(key, value),
        "pop2": lambda key, value: target.pop(key, value),
        "setdefault2": lambda key, value: target.setdefault(key, value),
        "update": lambda other: target.update(other),
        "update_pairs": lambda other: target.update(list(other.items()), z=1),
        "or": lambda other: target | other,
        "ror": lambda other: other | target,
        "ior": lambda other: target.__ior__(other) is target,
        "eq": lambda other: target == other,
        "ne": lambda other: target != other,
        "popitem": lambda: target.popitem(),
        "clear": lambda: target.clear(),
        "keys": lambda: list(target.keys()),
        "values": lambda: list(target.values()),
        "items": lambda: list(target.items()),
        "iter": lambda: list(target),
        "reversed": lambda: list(reversed(target)),
        "repr": lambda: repr(target),
        "len": lambda: len(target),
        "bool": lambda: bool(target),
        "copy": lambda: target.copy(),
        "dict": lambda: dict(target),
        "star": lambda: {**target},
        "keywords": lambda: (lambda **given: given)(**target),
        "sorted": lambda: sorted(target, key=repr),
    }
    try:
        return actions[name](*given)
    except (KeyError, TypeError) as error:
        return type(error), error.args


@given(start=DICTS, operations=st.lists(OPERATIONS, max_size=12))
def test_any_operations_give_what_a_dict_gives(start: Any, operations: list[tuple[Any, ...]]) -> None:
    plain, shared = dict(start), dict(start)
    context = watched(start, shared)
    for operation in operations:
        mine, dicts = copy.deepcopy(operation), copy.deepcopy(operation)
        assert apply(context, mine) == apply(plain, dicts)
        assert plain == context
        assert context == plain
        assert list(plain.items()) == list(context.items())
        assert shared == plain


@given(value=st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)))
def test_a_digest_is_the_same_for_equal_values(value: Any) -> None:
    assert digest(value) == digest(copy.deepcopy(value))
    assert digest([value]) != digest([value, value])


def test_a_digest_runs_no_code_of_the_callers_and_takes_a_bounded_time() -> None:
    class Lazy(dict[str, int]):
        def items(self) -> Any:
            raise AssertionError

    looked: list[int] = []

    class Counts(list[int]):
        def __len__(self) -> int:
            looked.append(1)
            return super().__len__()

    loop: list[Any] = []
    loop.append(loop)
    for value in (Lazy(a=1), Counts([1]), loop, [[0] * 1000] * 1000, object(), {"a": object()}):
        assert digest(value) == digest(value)
    assert not looked


def test_copies_of_a_context_that_holds_itself_do_so_too() -> None:
    context = watched({"a": 1})
    dict.__setitem__(context, "self", context)
    for made in (copy.deepcopy(context), pickle.loads(pickle.dumps(context))):
        assert type(made) is dict
        assert made["self"] is made
        assert made["a"] == 1


async def test_a_context_that_a_member_keeps_does_not_keep_the_texts_of_the_run(traces: list[RunTrace]) -> None:
    kept: list[Any] = []

    async def keeps(_task: str, context: Any) -> str:
        kept.append(context)
        return "said by the first member"

    await run([Custom("m0", keeps), Custom("m1", uses(lambda context: context["previous_output"]))], note="given")
    (trace,) = traces
    assert reads(trace) == {("m1", ("m0",))}
    traces.clear()
    del trace
    reached, waiting = set(), [kept[0]._watch]
    while waiting:
        one = waiting.pop()
        if id(one) not in reached and not isinstance(one, type | ModuleType | FunctionType):
            reached.add(id(one))
            waiting.extend(gc.get_referents(one))
            assert "said by" not in one if isinstance(one, str) else not isinstance(one, Wrote)
    assert kept[0]["note"] == "given"
    assert set(kept[0]) >= {"note"}
