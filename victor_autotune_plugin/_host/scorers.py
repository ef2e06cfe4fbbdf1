"""The scorers that work through Victor: its own verifiers of a project's tests and lint, and a model as judge.

A verifier runs behind the run, in the project's folder.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .._tuning.runtime import runtime
from ..quality import RunOutput, Scored
from ..quality.scorer import SettingsScorer

if TYPE_CHECKING:
    from .._model.scorer_settings import ScorerSettings
    from ..quality import Scorer

NOT_THERE: Final = "not in this Victor"
NOTHING_RAN: Final = "nothing ran"
FAILED_TO_RUN: Final = "failed to run"

_MODULE: Final = "victor.framework.verifiers"
_CLASSES: Final = {"tests": "LocalTestVerifier", "lint": "LintVerifier"}
_VERIFIERS_OWN_SECONDS: Final = 86_400.0
# The limit is kept here: a verifier that reaches its own says that all is well, and leaves its command running.

_END_SECONDS: Final = 1.0


class VictorVerifier(SettingsScorer):
    """Scores the state of the project after a run by one of Victor's verifiers: a command tells what is so.

    Args:
        settings: One of the kind `victor_verifier`.
    """

    source = "command"
    needs_text = False  # it looks at files

    def score(self, output: RunOutput) -> Scored:
        """Run the verifier.

        Returns:
            What passed of all that was checked; no opinion where nothing was checked or the command could not run.

        Raises:
            OSError: The command could not be started.
            TimeoutError: It took too long; it and what it started are ended.
        """
        verifier = _verifier(str(self.settings.value))
        if verifier is None:
            return Scored(None, NOT_THERE)
        return contextvars.Context().run(self._run, verifier, output)

    def _run(self, verifier: Any, output: RunOutput) -> Scored:
        loop = _Loop()

        async def verify() -> Any:
            try:
                return await asyncio.wait_for(verifier.verify(workspace=output.project), self.timeout)
            finally:
                await loop.kill()

        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            found = runner.run(verify())
        if loop.error is not None:
            raise loop.error
        codes = loop.exit_codes
        passed, total = found.passed, found.total
        if any(code is None or code < 0 for code in codes):
            return Scored(None, FAILED_TO_RUN)
        if total <= 0:
            return Scored(None, NOTHING_RAN)
        if passed >= total and any(codes):  # its words say that all is well, its exit code says otherwise
            return Scored(None, FAILED_TO_RUN)
        return Scored(max(0.0, passed / total))


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that knows which commands were started on it, and can end them with all that they started."""

    def __init__(self) -> None:
        super().__init__()
        self.error: OSError | None = None
        self.exit_codes: list[int | None] = []
        """Of what ended by itself; below 0 for a signal, None for what had to be ended."""
        self._starting: list[asyncio.Future[Any]] = []
        self._started: list[asyncio.SubprocessTransport] = []

    async def subprocess_exec(self, *args: Any, **options: Any) -> Any:
        """Start a command in a process group of its own."""
        # Cancelled meanwhile, asyncio would end the command alone, and wait for what that started.
        starting = asyncio.ensure_future(self._start(args, options))
        self._starting.append(starting)
        return await asyncio.shield(starting)

    async def _start(self, args: Any, options: Any) -> Any:
        try:
            transport, protocol = await super().subprocess_exec(*args, **{**options, "start_new_session": True})
        except OSError as error:
            self.error = error
            raise
        self._started.append(transport)
        return transport, protocol

    async def kill(self) -> None:
        """End what was started and still runs."""
        await asyncio.gather(*self._starting, return_exceptions=True)
        self.exit_codes = [transport.get_returncode() for transport in self._started]
        for transport in self._started:
            with suppress(OSError):
                os.killpg(transport.get_pid(), signal.SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                while any(transport.get_returncode() is None for transport in self._started):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        for transport in self._started:
            transport.close()


def _verifier(kind: str) -> Any:
    """Return Victor's verifier of a kind; None where this Victor has none."""
    if missing(kind):
        return None
    made: Any = getattr(import_module(_MODULE), _CLASSES[kind])  # where `missing` found it
    # Victor's own gives the tests an empty environment, in which no command of a venv is found.
    environment = {"env": dict(os.environ)} if kind == "tests" else {}
    return made(timeout=_VERIFIERS_OWN_SECONDS, **environment)


def missing(kind: str) -> str | None:
    """Return the name of the class that this Victor would need for a verifier, or None when it is there.

    Args:
        kind: `tests` or `lint`.
    """
    name = _CLASSES.get(kind, kind)
    with suppress(ImportError):
        if hasattr(import_module(_MODULE), name):
            return None
    return f"{_MODULE}.{name}"


def rubric(settings: ScorerSettings) -> Scorer:
    """Return a model as judge, which is paid by the process's prices."""
    from .judge_model import JudgeModel

    return JudgeModel(settings, lambda use, at: runtime().resolver.price_for(use, at))


MAKERS: Final[dict[str, Callable[[ScorerSettings], Scorer]]] = {"rubric": rubric, "victor_verifier": VictorVerifier}
"""What makes the scorers that work through Victor, by kind."""
