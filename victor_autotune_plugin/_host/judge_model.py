"""A model as judge, asked through Victor's own provider, on a scorer's thread and an event loop of its own there.

Its provider is made for it alone, so that the runs of the user neither wait for it nor are refused after its failures.
"""

from __future__ import annotations

import asyncio
import contextvars
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from .. import failsafe
from .._model.run import TokenUse
from .._tuning.threads import breathing
from ..quality import RunOutput, Scored
from ..quality.rubric import MOST_CHARACTERS, TOO_LONG, Sample, checks_of, judge_of, sample_of, verdict
from ..quality.scorer import SettingsScorer
from .meters import BilledCall
from .usage import Usage, billed

if TYPE_CHECKING:
    from .._model.price import Price
    from .._model.run import TeamRun
    from .._model.scorer_settings import ScorerSettings

NO_MODEL: Final = "no model"
NO_PRICE: Final = "no price"

_CLOSE_SECONDS: Final = 0.5
_MOST_AT_ONCE: Final = 4
_MOST_ANSWER_TOKENS: Final = 4096  # many models think before they answer, which counts
_CHARACTERS_PER_TOKEN: Final = 3  # rather too few: it is for what nobody reports


class JudgeModel(SettingsScorer):
    """Scores what a run delivered by a rubric.

    It decides once it is trusted. The samples that were answered within its time limit count.

    Attributes:
        judge: As in `Gate`; empty for a rubric that leaves the model to the run, whose scores tell which one was asked.

    Args:
        settings: A rubric.
        price_for: Gives the price of a use at a Unix time, or None when it is not known.
    """

    source = "model"

    def __init__(self, settings: ScorerSettings, price_for: Callable[[TokenUse, float], Price | None]) -> None:
        super().__init__(settings)
        self.judge = judge_of(settings) if settings.provider and settings.model else ""
        self._price_for = price_for

    def score(self, output: RunOutput) -> Scored:
        """Ask the model as often as the settings say.

        Without a known price nothing is asked, since what it may cost in a day could not be kept.
        """
        # In a context of its own: no member's meter and no span of the run has a part in it.
        return contextvars.Context().run(self._score, output)

    def _score(self, output: RunOutput) -> Scored:
        began = time.monotonic()
        provider, model = asked_model(self.settings, output.run)
        if provider is None or model is None:
            return Scored(None, NO_MODEL)
        judge = judge_of(self.settings, provider, model)
        if len(output.text) > MOST_CHARACTERS:
            return Scored(None, TOO_LONG, judge=judge)
        if self._price_for(TokenUse(model, provider=provider), time.time()) is None:
            return Scored(None, NO_PRICE, judge=judge)
        checks, run_id = checks_of(self.settings), output.run.run_id
        text = output.text.encode("utf-8", "replace").decode()  # half a character can't be sent
        samples = [
            sample_of(checks, text, run_id, number, secrets.token_hex(8)) for number in range(self.settings.samples)
        ]
        with breathing():
            asked = _Asked(provider, model)
        asyncio.run(asked.all(samples, max(0.0, self.timeout - (time.monotonic() - began))))
        why = "timeout" if asked.error is None else f"failed: {asked.error}"
        replies = zip(samples, asked.replies, strict=True)
        return evolve(verdict(replies, len(output.text), self._cost(asked.bill), why), judge=judge)

    def _cost(self, bill: Sequence[TokenUse]) -> float | None:
        now, total = time.time(), 0.0
        for use in bill:
            price = self._price_for(use, now)
            if price is None:
                return None
            total += price.cost_usd(use)
        return total


def asked_model(settings: ScorerSettings, run: TeamRun) -> tuple[str | None, str | None]:
    """Return provider and model that a rubric asks about a run: what it leaves open is what the run used most."""
    provider, model = settings.provider, settings.model
    used = sorted(run.tokens, key=lambda use: -(use.input_tokens + use.output_tokens))
    for use in used:
        if use.provider and provider in (None, use.provider) and model in (None, use.model):
            return use.provider, use.model
    if provider is None:  # the run did not use that model, so where it is to be had is a guess
        provider = next((use.provider for use in used if use.provider), None)
    return provider, model


class _Asked:
    """One asking of a model, with what was answered and used.

    Attributes:
        replies: What it said to each sample, or None.
        bill: What is to be paid.
        error: Class of the first failure; None where none was.
    """

    def __init__(self, provider: str, model: str) -> None:
        self.replies: list[str | None] = []
        self.bill: list[TokenUse] = []
        self.error: str | None = None
        self._name, self._model = provider, model
        self._provider = _make_provider(provider)

    async def all(self, samples: Sequence[Sample], seconds: float) -> None:
        """Ask all samples, a few at a time, for at most so many seconds."""
        self.replies = [None] * len(samples)
        free = asyncio.Semaphore(_MOST_AT_ONCE)

        async def one(place: int, sample: Sample) -> None:
            async with free:
                await self._one(place, sample)

        asking = [asyncio.create_task(one(place, sample)) for place, sample in enumerate(samples)]
        try:
            await asyncio.wait(asking, timeout=seconds)
            for task in asking:
                task.cancel()
            await asyncio.wait(asking, timeout=_CLOSE_SECONDS)
        finally:
            with failsafe.guard("end of a judge's provider", foreign=True):
                await asyncio.wait_for(self._provider.close(), _CLOSE_SECONDS)

    async def _one(self, place: int, sample: Sample) -> None:
        from victor.providers.base import Message

        messages = [Message(role="system", content=sample.system), Message(role="user", content=sample.user)]
        prompt = len(sample.system) + len(sample.user)
        try:
            response = await self._provider.chat(
                messages, model=self._model, temperature=0.0, max_tokens=_MOST_ANSWER_TOKENS
            )
        except asyncio.CancelledError:
            self._pay(_guessed(prompt, 0))  # it may be billed all the same
            raise
        except Exception as error:
            self.error = self.error or type(error).__name__
            return
        reply = str(getattr(response, "content", None) or "")
        self.replies[place] = reply
        raw = getattr(response, "raw_response", None)
        self._pay(billed(self._name, getattr(response, "usage", None), raw) or _guessed(prompt, len(reply)))

    def _pay(self, usage: Usage) -> None:
        self.bill.append(BilledCall(self._name, self._model, usage, answered=True).use)


def _guessed(sent: int, received: int) -> Usage:
    """Return about what so many characters are in tokens."""
    return Usage(sent // _CHARACTERS_PER_TOKEN + 1, received // _CHARACTERS_PER_TOKEN)


def _make_provider(name: str) -> Any:
    """Return a provider of Victor's by its settings, which shares no state of failures with those of the runs."""
    from victor.config.settings import load_settings
    from victor.providers.registry import ProviderRegistry

    settings = load_settings()
    profile = settings.load_profiles().get("default")
    options: dict[str, Any] = {}
    if profile is not None and profile.provider == name:
        account = getattr(profile, "account", None)
        options = {"profile_overrides": dict(getattr(profile, "__pydantic_extra__", None) or {})}
        options |= {} if account is None else {"account_name": account}
    provider = ProviderRegistry.create(name, **settings.get_provider_settings(name, **options))
    with failsafe.guard("settings of a judge's provider", foreign=True):
        provider.max_retries = 1
        provider._use_circuit_breaker = False
        # It heeds the pauses of the user's providers, and causes none.
        provider._rate_limit_suppression_by_key = dict(getattr(provider, "_rate_limit_suppression_by_key", ()))
    return provider
