"""What a tool call may have done is told by Victor's own word for its own tools, and by nothing for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin._dataflow.trace import Called, RunTrace
from victor_autotune_plugin._host.tool_access import access_of, paths_of
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_testing.realvictor import make_team, run_team
from victor_autotune_testing.sandbox import NOTES
from victor_autotune_testing.scripted import Rule, Script, ScriptedModel, ToolTurns

from .conftest import Plugin

OF_THIS_NETWORK = [
    "http://localhost:8000",
    "http://127.0.0.1/x",
    "http://user:secret@127.0.0.1",
    "http://[::1]:80/",
    "http://192.168.0.7",
    "https://172.20.0.2:9",
    "http://web:8000/x",
    "http://web",
    "http://shop.local/x",
    "http://host.docker.internal:3000",
    "file:///tmp/x",
    "localhost:3000",
]

VICTORS = [
    ("read", {"path": "a"}, "read"),
    ("ls", {"path": "."}, "read"),
    ("search", {"cmd": "search text"}, "read"),
    ("write", {"path": "a", "content": "x"}, "write"),
    ("edit", {"ops": []}, "write"),
    ("shell", {"cmd": "ls"}, "execute"),
    ("shell", {"cmd": "ls", "readonly": True}, "read"),
    ("code", {"cmd": "code grep x"}, "read"),
    ("code", {"cmd": "grep x | tee y"}, "mixed"),
    ("code", {"cmd": "test"}, "mixed"),
    ("git", {"cmd": "git status"}, "read"),
    ("git", {"cmd": "diff --staged src"}, "read"),
    ("git", {"cmd": "git log --oneline"}, "read"),
    ("git", {"cmd": "git diff -- --output=x"}, "mixed"),
    ("git", {"cmd": "git commit -m x"}, "mixed"),
    ("git", {"cmd": "git branch other"}, "mixed"),
    ("git", {"cmd": "git status '"}, "mixed"),
    ("git", {"cmd": "git"}, "mixed"),
    ("git", {}, "mixed"),
    ("web", {"cmd": "web fetch https://example.org"}, "network"),
    ("web_search", {"query": "x"}, "network"),
    ("web_fetch", {"url": "https://example.org"}, "network"),
    ("web_fetch", {"url": "http://172.32.0.1/a:b"}, "network"),
    ("web_search", {"query": "ways to file: a // comment"}, "read"),
    *(("web_fetch", {"url": url}, "read") for url in OF_THIS_NETWORK),
    ("web", {"cmd": "web fetch http://web:8000/x"}, "read"),
]


@pytest.mark.parametrize(("name", "arguments", "access"), VICTORS)
async def test_victors_own_tools_say_what_they_do(
    orchestrator: Any, name: str, arguments: dict[str, Any], access: str
) -> None:
    assert access_of(orchestrator.tool_registry.get(name), name, arguments) == access


def victors_others() -> list[tuple[Any, str, dict[str, Any], str]]:
    from victor.tools.http_tool import http
    from victor.tools.jira_tool import jira
    from victor.tools.unified.cicd_tool import cicd_tool

    tools = {"http": http.Tool, "jira": jira.Tool, "cicd": cicd_tool.Tool}
    calls: list[tuple[str, dict[str, Any], str]] = [
        ("http", {"method": "GET", "url": "https://example.org"}, "network"),
        ("http", {"method": "post", "url": "https://example.org"}, "mixed"),
        ("http", {"url": "https://example.org"}, "mixed"),
        ("jira", {"operation": "search"}, "mixed"),
        ("cicd", {"cmd": "cicd generate"}, "mixed"),
    ]
    return [(tools[name], name, arguments, access) for name, arguments, access in calls]


def test_what_goes_over_the_network_and_may_change_something_is_mixed(sandbox: Any) -> None:
    for tool, name, arguments, access in victors_others():
        assert access_of(tool, name, arguments) == access, name


def foreign_tools() -> dict[str, Any]:
    from victor.tools.base import BaseTool, ToolResult
    from victor.tools.decorators import tool
    from victor.tools.enums import AccessMode
    from victor.tools.filesystem import read
    from victor.tools.mcp_adapter_tool import MCPAdapterTool

    @tool
    async def look(path: str) -> str:
        """Look at something."""
        return path

    @tool(access_mode=AccessMode.READONLY, category="filesystem")
    async def declared(path: str) -> str:
        """Look at something."""
        return path

    class Plain(BaseTool):  # type: ignore[misc]
        name = "plain"
        description = "a tool"
        parameters = None

        async def execute(self, _exec_ctx: Any, **_: Any) -> Any:
            return ToolResult(success=True, output="")

    class Declared(Plain):
        access_mode = AccessMode.READONLY

    class Inherits(type(read.Tool)):  # type: ignore[misc]
        pass

    return {
        "a function": look.Tool,
        "a function that is declared READONLY": declared.Tool,
        "a class": Plain(),
        "a class that is declared READONLY": Declared(),
        "a subclass of one of Victor's": Inherits(lambda path: path),
        "Victor's adapter of a server's tool": object.__new__(MCPAdapterTool),
        "no tool": None,
    }


def test_a_tool_that_is_not_victors_own_is_unclassified(sandbox: Any) -> None:
    for name, tool in foreign_tools().items():
        assert access_of(tool, "read", {"path": "a"}) == "unclassified", name


@pytest.mark.parametrize(
    ("access", "arguments", "paths"),
    [
        ("read", {"path": "a.py"}, ["a.py"]),
        ("read", {"path": "./sub/../a.py"}, ["a.py"]),
        ("read", {"path": "/etc/hosts"}, ["/etc/hosts"]),
        ("read", {"path": "~"}, [str(Path("~").expanduser().resolve())]),
        ("read", {"file_path": "a.py"}, ["a.py"]),
        ("read", {"paths": ["a.py", "b.py"]}, ["a.py", "b.py"]),
        ("read", {"paths": '["a.py", "b.py"]'}, ["a.py", "b.py"]),
        ("read", {"files": "a.py"}, ["a.py"]),
        ("read", {"path": "src/*/a.py"}, ["src"]),
        ("read", {"path": "*.py"}, ["."]),
        ("read", {"path": "."}, ["."]),
        ("read", {"path": ""}, ["."]),
        ("read", {}, ["."]),
        ("read", {"pattern": "*.py"}, ["."]),
        ("read", {"cmd": "search x"}, []),
        ("read", {"cmd": "cat a.py", "cwd": "sub", "readonly": True}, []),
        ("read", {"path": "a.pi"}, []),
        ("read", {"paths": ["a.py", "a.pi"]}, []),
        ("write", {"path": "a.pi"}, []),
        ("write", {"ops": [{"type": "delete", "path": "gone.py"}]}, ["gone.py"]),
        ("read", {"path": 7}, ["."]),
        ("write", {"path": "a.py", "content": "b.py"}, ["a.py"]),
        ("write", {"notebook_path": "a.ipynb"}, ["a.ipynb"]),
        ("write", {"file": "a.py", "function_name": "f"}, ["a.py"]),
        ("write", {"path": "src", "output": "docs/api.md"}, ["src", "docs/api.md"]),
        (
            "write",
            {"ops": [{"type": "rename", "path": "a", "new_path": "b"}, {"type": "create", "path": "c"}, 7]},
            ["a", "b", "c"],
        ),
        ("write", {"ops": '[{"type": "create", "path": "c"}]'}, ["c"]),
        ("write", {"ops": {"type": "create", "path": "c"}}, ["c"]),
        ("write", {"ops": "no json"}, []),
        ("write", {"patch_content": "--- a/x.py\n+++ b/y.py\n@@\n-1\n+2\n--- /dev/null\n"}, ["x.py", "y.py"]),
        ("write", {}, []),
        ("network", {"url": "https://example.org", "path": "x"}, []),
        ("execute", {"cmd": "make", "cwd": "sub"}, []),
        ("unclassified", {"path": "a"}, []),
        *(
            ("write", {"ops": [{"type": "rename", "path": "a", to: "b"}]}, ["a", "b"])
            for to in ("to", "dest", "new_name")
        ),
        ("read", {"path": "a\0b"}, ["."]),
    ],
)
def test_paths_are_absolute_and_normalised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, access: Any, arguments: dict[str, Any], paths: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("src", "sub", "docs"):
        (tmp_path / name).mkdir()
    for name in ("a", "b", "a.py", "b.py", "a.ipynb", "x.py", "y.py", "docs/api.md"):
        (tmp_path / name).touch()
    wanted = tuple(str((tmp_path / one).resolve()) if not one.startswith("/") else one for one in paths)
    name = "notebook_edit" if "notebook_path" in arguments else "shell" if "cmd" in arguments else access
    assert paths_of(access, name, arguments) == wanted


@pytest.mark.parametrize("name", ["docs", "scan", "impact_analysis", "rename", "one of the next release"])
def test_of_a_tool_that_goes_beyond_its_arguments_no_path_can_be_told(name: str) -> None:
    here = str(Path(__file__).parent)
    assert paths_of("read", "ls", {"path": here}) == (here,)
    assert paths_of("read", name, {"path": here}) == paths_of("write", name, {"path": here}) == ()


def test_a_file_with_two_names_is_one_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").touch()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert paths_of("read", "read", {"path": "link/a"}) == paths_of("write", "write", {"path": "real/a"})


def test_very_many_paths_become_the_folder_of_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    for n in range(1000):
        (tmp_path / "src" / f"{n}.py").touch()
    assert paths_of("read", "read", {"paths": [f"src/{n}.py" for n in range(1000)]}) == (str(tmp_path / "src"),)


@pytest.fixture
def traces(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> list[RunTrace]:
    """The traces of the runs, in the order of their ends."""
    found: list[RunTrace] = []
    monkeypatch.setattr(plugin.runtime.loop, "traced", lambda _run_id, trace: found.append(trace), raising=False)
    return found


def calls(trace: RunTrace) -> list[tuple[str, tuple[str, ...], bool]]:
    return [(one.access, one.paths, one.failed) for one in trace.entries if isinstance(one, Called)]


async def test_the_calls_of_a_sub_agent_are_noted(
    traces: list[RunTrace], orchestrator: Any, scripted: ScriptedModel
) -> None:
    turns = [
        ToolTurns(1, 2, "read", {"path": NOTES, "offset": "{n}", "limit": 1}),
        ToolTurns(1, 1, "read", {"path": "missing.md"}),
        ToolTurns(1, 1, "ls", {"path": "."}),
        ToolTurns(1, 1, "write", {"path": "made.md", "content": "made by a member\n"}),
        ToolTurns(1, 1, "shell", {"cmd": "true"}),
        ToolTurns(1, 1, "nonsense", {"x": 1}),
    ]
    scripted.script = Script([Rule("tools", tools=turns)])
    await run_team(orchestrator, make_team("executor"))
    here = Path.cwd()
    (trace,) = traces
    noted = calls(trace)
    assert noted[:5] == [
        ("read", (str(here / NOTES),), False),
        ("read", (str(here / NOTES),), False),
        ("read", (), True),
        ("read", (str(here),), False),
        ("write", (str(here / "made.md"),), False),
    ]
    assert [access for access, _, _ in noted[5:]] == ["execute"]


async def test_refused_calls_never_ran_and_are_left_out(
    plugin: Plugin, traces: list[RunTrace], orchestrator: Any, scripted: ScriptedModel
) -> None:
    plugin.plan = TeamPlan(tool_budget=2)
    scripted.script = Script([Rule("tools", tools=[ToolTurns(2, 3)])])
    await run_team(orchestrator, make_team("researcher"))
    assert len(calls(traces[0])) == 2
    assert plugin.run.members[0].tool_calls == 2
