"""The sandbox keeps Victor away from the real home, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import pwd
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from victor_autotune_plugin._host.workflows import settle
from victor_autotune_plugin.errors import HostError
from victor_autotune_testing.sandbox import Sandbox, trusted_home, victor_sandbox
from victor_autotune_testing.scripted import NOTES

IN_A_PROCESS = """
    import asyncio, os, pwd, sys
    from pathlib import Path
    from victor_autotune_testing.scripted import ScriptedModel, scripts
    from victor_autotune_plugin._host.workflows import settle
    from victor_autotune_testing.sandbox import trusted_home, victor_sandbox

    real = Path(sys.argv[1])
    os.environ["HOME"] = str(real)
    os.environ["VICTOR_LOG_LEVEL"] = "DEBUG"
    os.environ["HTTP_PROXY"] = os.environ["http_proxy"] = "http://127.0.0.1:9"
    entered_from = os.getcwd()

    async def main():
        from victor.framework import Agent
        from victor.core.shared_types import SubAgentRole
        from victor.teams import TeamConfig, TeamFormation, TeamMember, UnifiedTeamCoordinator
        agent = await Agent.create(provider="openai", model="scripted")
        members = [TeamMember(id=f"m{i}", role=SubAgentRole.RESEARCHER, name="M", goal="g") for i in range(2)]
        team = TeamConfig(name="t", goal="review the code", members=members, formation=TeamFormation.PARALLEL)
        result = await UnifiedTeamCoordinator(agent.get_orchestrator()).execute_team_config(team)
        print("succeeded", result.success, [one.tool_calls_used for one in result.member_results.values()])
        await settle()

    with trusted_home(real):  # the passwd database as it would be for a user whose home is `real`
        with ScriptedModel(scripts.with_tools(1, 52)) as model, victor_sandbox(model.base_url, quiet=True) as sandbox:
            assert "VICTOR_LOG_LEVEL" not in os.environ
            assert Path.cwd() == sandbox.project
            asyncio.run(main())
            assert (sandbox.home / ".victor" / "victor.db").exists()
        print("left", sandbox.home.parent.exists(), os.environ["HOME"] == str(real), os.getcwd() == entered_from,
              os.environ["VICTOR_LOG_LEVEL"], Path(pwd.getpwuid(os.getuid()).pw_dir) == real)
        print(sandbox.home.parent)
        sys.stdout.flush()
"""


@pytest.mark.victor
def test_victor_runs_quietly_and_never_touches_the_real_home(tmp_path: Path) -> None:
    real, work = tmp_path / "real", tmp_path / "work"
    real.mkdir()
    work.mkdir()
    code = textwrap.dedent(IN_A_PROCESS)
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(real)],
        cwd=work,
        env={**environment, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0
    # Victor shows what is logged at INFO; the plugin says once that the scripted model has no price.
    assert [line for line in done.stderr.splitlines() if "no price is known for model 'scripted'" not in line] == []
    succeeded, left, folder = done.stdout.splitlines()
    assert succeeded == "succeeded True [50, 50]"
    assert left == "left False True True DEBUG True"
    assert not Path(folder).exists()
    assert list(real.iterdir()) == []
    assert list(work.iterdir()) == []


def test_all_tests_run_in_a_sandbox(sandbox: Sandbox) -> None:
    assert Path.home() == sandbox.home
    assert Path(pwd.getpwuid(os.getuid()).pw_dir) == sandbox.home
    assert (sandbox.project / NOTES).exists()


@pytest.mark.victor
def test_a_second_home_is_refused_once_victor_is_imported(sandbox: Sandbox, tmp_path: Path) -> None:
    import victor.teams  # noqa: F401

    other = victor_sandbox(folder=tmp_path / "other")
    with pytest.raises(HostError, match=f"Victor was imported in the sandbox {sandbox.home.parent}") as caught:
        other.__enter__()
    assert caught.value.hint is not None
    assert "before anything imports Victor" in caught.value.hint
    assert Path.home() == sandbox.home
    with victor_sandbox(folder=sandbox.home.parent, chdir=False) as again:
        assert again == sandbox


def test_the_passwd_database_is_changed_for_this_user_only_and_restored(tmp_path: Path) -> None:
    original = pwd.getpwuid
    before = pwd.getpwuid(os.getuid())
    with trusted_home(tmp_path):
        inside = pwd.getpwuid(os.getuid())
        assert inside.pw_dir == str(tmp_path)
        assert inside[:5] == before[:5]
        assert pwd.getpwuid(1) == original(1) or os.getuid() == 1
        with pytest.raises(KeyError):
            pwd.getpwuid(4_000_000_000)
    assert pwd.getpwuid is original


def test_a_user_without_passwd_entry_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    with trusted_home(tmp_path):
        assert pwd.getpwuid(4_000_000_000).pw_dir == str(tmp_path)


@pytest.mark.parametrize(
    ("argv", "output"),
    [
        (("python", "-c", "import sys; print(sys.argv)", "a"), "['-c', 'a']"),
        (("python", "-c", "from pathlib import Path; print(Path.home().name)"), "home"),
        (
            ("python", "-c", "from victor.config import secure_paths as it; print(it.get_victor_dir())"),
            "{home}/.victor",
        ),
        (("python", "-m", "victor_autotune_testing.scripted", "--example"), "# A script"),
        (("python", "hello.py", "b"), "hello ['hello.py', 'b']"),
    ],
)
def test_programs_run_inside_the_sandbox(
    victor_process: Callable[..., subprocess.CompletedProcess[str]],
    sandbox: Sandbox,
    argv: tuple[str, ...],
    output: str,
) -> None:
    (sandbox.project / "hello.py").write_text("import sys\nprint('hello', sys.argv)\n")
    done = victor_process(*argv)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(output.replace("{home}", str(sandbox.home)))


@pytest.mark.parametrize("argv", [(), ("no-such-program",), ("python",), ("python", "-z")])
def test_unknown_programs_end_with_2_and_the_mend(
    victor_process: Callable[..., subprocess.CompletedProcess[str]], argv: tuple[str, ...]
) -> None:
    done = victor_process(*argv)
    assert done.returncode == 2
    assert "name a console script" in done.stderr
    assert "Traceback" not in done.stderr


def test_settling_ends_a_dispatcher_that_loses_its_cancellation() -> None:
    class Backend:
        lost = 0

        async def _dispatch_loop(self) -> None:
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    self.lost += 1
                    if self.lost > 2:
                        raise

    async def main() -> None:
        other = asyncio.create_task(asyncio.sleep(3600))
        dispatcher = asyncio.create_task(backend._dispatch_loop())
        await asyncio.sleep(0)
        await settle()
        assert dispatcher.cancelled()
        assert not other.done()

    backend = Backend()
    asyncio.run(asyncio.wait_for(main(), 20))
    assert backend.lost == 3
