"""A model as judge on Victor's own provider: what it gives and costs, and that the user's runs feel nothing of it."""

from __future__ import annotations

import asyncio
import re
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host import judge_model
from victor_autotune_plugin._host.judge_model import JudgeModel, asked_model
from victor_autotune_plugin._model.plan import MemberSpec, TeamSpec
from victor_autotune_plugin._model.price import Price
from victor_autotune_plugin._model.run import TeamRun, TokenUse
from victor_autotune_plugin._model.scorer_settings import ScorerSettings
from victor_autotune_plugin.quality import RunOutput, Scored
from victor_autotune_plugin.quality.rubric import judge_of
from victor_autotune_testing.realvictor import make_members, make_team, run_team, until
from victor_autotune_testing.scripted import Rule, Script, ScriptedModel, max_in_flight, scripts
from victor_autotune_testing.scripted.script import Failure

from .conftest import Plugin

CHECKS = ("Is it sourced?", "Is it short?")
JUDGE = ScorerSettings("judge", "rubric", CHECKS, provider="openai", model="judge-model", timeout=30.0)
SPEC = TeamSpec("flow", "team", "parallel", [MemberSpec("m0", "planner")])
RUN = TeamRun("run-1", SPEC, 0.0, 1.0, True, 1.0)
PRICE = Price(2.0, 10.0)
SECRET = "the launch code is 7741"


def judge(settings: ScorerSettings = JUDGE, price: Price | None = PRICE) -> JudgeModel:
    return JudgeModel(settings, lambda use, at: price)


async def scored(by: JudgeModel, text: str = SECRET, run: TeamRun = RUN) -> Scored:
    """Score on a thread, as the plugin does; this one's event loop and context hold a run."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(by.score(RunOutput(run, text)))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    (one,) = found
    if isinstance(one, BaseException):
        raise one
    assert isinstance(one, Scored)
    return one


def answering(answer: str, **more: Any) -> Script:
    return Script([Rule("judge", prompt="numbered list of questions", answer=answer, **more), Rule("other")])


@pytest.fixture(autouse=True)
def _no_faults() -> Any:
    yield
    assert failsafe.seen() == ()


async def test_it_gives_the_share_of_yes_with_cost_and_details(orchestrator: Any, scripted: ScriptedModel) -> None:
    scripted.script = answering("1: yes\n2: no", prompt_tokens=100, completion_tokens=10)
    found = await scored(judge())
    assert (found.value, found.why, found.judge) == (0.5, "", judge_of(JUDGE))
    assert found.cost_usd == pytest.approx(3 * (100 * 2e-6 + 10 * 1e-5))
    assert found.details["length"] == len(SECRET)
    assert [[yes for _, yes in sample] for sample in found.details["answers"]] == [[True, False]] * 3
    assert {call.model for call in scripted.calls} == {"judge-model"}
    assert SECRET not in repr(found)


async def test_a_text_with_half_a_character_can_be_judged(orchestrator: Any, scripted: ScriptedModel) -> None:
    scripted.script = answering("1: yes\n2: no")
    assert (await scored(judge(), "cut off: \ud83d")).value == 0.5


async def test_many_samples_are_asked_a_few_at_a_time(orchestrator: Any, scripted: ScriptedModel) -> None:
    scripted.script = answering("1: yes\n2: no", latency=0.02)
    found = await scored(judge(evolve(JUDGE, samples=10)))
    assert (len(found.details["answers"]), len(scripted.calls)) == (10, 10)
    assert max_in_flight(scripted.calls) <= 4


async def test_it_is_metered_and_traced_for_no_run(plugin: Plugin, orchestrator: Any, scripted: ScriptedModel) -> None:
    from victor.teams import TeamParticipant, UnifiedTeamCoordinator

    scripted.script = answering("1: yes\n2: yes")
    values: list[float | None] = []

    async def own(task: str, context: dict[str, Any]) -> str:
        values.append((await scored(judge())).value)
        return "done"

    (lead,) = make_members("planner")
    member = TeamParticipant(member=lead, executor=own)
    await UnifiedTeamCoordinator(orchestrator).execute_team_config(make_team("planner"), members=[member])
    assert values == [1.0]
    assert (plugin.run.llm_calls, plugin.run.tokens, len(scripted.calls)) == (0, (), 3)


async def test_without_a_price_the_model_is_not_asked_and_a_free_one_costs_nothing(
    orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = answering("1: yes\n2: yes")
    assert (await scored(judge(price=None))).why == "no price"
    assert not scripted.calls
    assert (await scored(judge(price=Price(0.0, 0.0)))).cost_usd == 0.0


@pytest.mark.parametrize("failures", [[Failure(400)], [Failure(400, calls=(1,))]], ids=["all", "one"])
async def test_a_failing_provider_costs_its_samples_and_no_run_of_the_user(
    orchestrator: Any, scripted: ScriptedModel, failures: list[Failure]
) -> None:
    scripted.script = answering("1: yes\n2: no", failures=failures)
    found = await scored(judge())
    if failures[0].calls:
        assert (found.value, found.why, len(found.details["answers"])) == (0.5, "", 2)
    else:
        assert found.value is None
        assert re.fullmatch(r"failed: \w+", found.why)
    scripted.script = scripts.succeed_at_once()
    assert (await run_team(orchestrator, make_team("planner"))).success


async def test_after_its_time_the_samples_that_were_answered_count(
    orchestrator: Any, scripted: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = Rule("hangs", prompt="numbered list", failures=[Failure(hang=True, calls=(1,))], answer="1: yes\n2: no")
    scripted.script = Script([hangs])

    async def wait(tasks: Any, *, timeout: float) -> Any:  # noqa: ASYNC109 - as asyncio has it
        if timeout > 1:
            await until(lambda: sum(task.done() for task in tasks) == 2)
            timeout = 0
        return await asyncio.wait(tasks, timeout=timeout)

    monkeypatch.setattr(judge_model, "asyncio", SimpleNamespace(**{**vars(asyncio), "wait": wait}))
    found = await scored(judge())
    assert (found.value, len(found.details["answers"])) == (0.5, 2)
    scripted.script = Script([Rule("hangs", failures=[Failure(hang=True)])])
    found = await scored(judge(evolve(JUDGE, timeout=0.3, samples=1)))
    assert (found.value, found.why) == (None, "timeout")
    assert found.cost_usd is not None
    assert found.cost_usd > 0  # what was sent may be billed


@pytest.mark.parametrize(
    ("text", "settings", "why"),
    [
        ("x" * 200_001, JUDGE, "output too long"),
        ("x", evolve(JUDGE, model=None), "no model"),
        ("x", evolve(JUDGE, provider=None), "no model"),
    ],
    ids=["long", "no model", "no provider"],
)
async def test_what_can_not_be_asked_is_not(
    orchestrator: Any, scripted: ScriptedModel, text: str, settings: ScorerSettings, why: str
) -> None:
    assert (await scored(judge(settings), text)).why == why
    assert not scripted.calls


async def test_a_provider_that_victor_has_not_is_a_failure(orchestrator: Any) -> None:
    with pytest.raises(Exception, match="nowhere"):
        await scored(judge(evolve(JUDGE, provider="nowhere")))


def test_what_a_rubric_leaves_open_is_what_the_run_used_most() -> None:
    small, large = TokenUse("small", 10, 1, provider="openai"), TokenUse("large", 90, 1, provider="ollama")
    run = evolve(RUN, tokens=[small, large])

    def ask(**given: str) -> tuple[str | None, str | None]:
        return asked_model(evolve(JUDGE, **{"provider": None, "model": None, **given}), run)

    assert ask() == ("ollama", "large")
    assert ask(provider="openai") == ("openai", "small")
    assert ask(model="small") == ("openai", "small")
    assert ask(model="other") == ("ollama", "other")
    assert ask(provider="groq") == ("groq", None)


def test_a_judges_provider_shares_no_state_of_failures_with_the_users(orchestrator: Any) -> None:
    from victor.providers.base import BaseProvider

    made = judge_model._make_provider("openai")
    assert made.base_url == orchestrator.provider.base_url
    made._rate_limit_suppression_by_key["x"] = 1
    assert "x" not in BaseProvider._rate_limit_suppression_by_key
