"""Public prices: those of the package, as it prices them itself, and never on an event loop's time."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from typing import Any

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot

from victor_autotune_plugin._model.price import KeptPrices, Price
from victor_autotune_plugin._model.run import CONTEXT_TOKENS, TokenUse
from victor_autotune_plugin._settings import public_prices
from victor_autotune_plugin._settings.public_prices import public_price, source

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
AT = NOW.timestamp()

KINDS = {"input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"}
RATES = {"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "output_reasoning_mtok"}


def billed_by_tokens_alone() -> list[tuple[str, str]]:
    """Return the models of the providers that Victor has, whose text tokens have a price."""
    victors = ("anthropic", "openai", "google", "deepseek", "x-ai", "groq", "mistral", "together", "cerebras", "aws")
    found = []
    for provider in get_snapshot().providers:
        for model in provider.models if provider.id in victors else ():
            priced = {name for name, value in vars(model.get_prices(NOW)).items() if value is not None}
            if {"input_mtok", "output_mtok"} <= priced and provider.find_model(model.id) is model:
                found.append((provider.id, model.id))
    return found


def test_every_model_costs_what_the_package_says() -> None:
    models = billed_by_tokens_alone()
    assert len(models) > 100
    for provider, model in models:
        price = public_price(provider, model, AT)
        assert price is not None, model
        for tokens in (10_000, 150_000, 250_000, 300_000):
            kinds = {"cached_tokens": tokens // 2, "cache_write_tokens": tokens // 5, "reasoning_tokens": 100}
            context = max(start for start in CONTEXT_TOKENS if start < tokens)
            use = TokenUse(model, tokens, 1000, **kinds, provider=provider, context_tokens=context)
            used = Usage(
                input_tokens=tokens,
                output_tokens=1000,
                cache_read_tokens=tokens // 2,
                cache_write_tokens=tokens // 5,
                output_reasoning_tokens=100,
            )
            asked: dict[str, Any] = {"provider_id": provider, "genai_request_timestamp": NOW}
            theirs = float(calc_price(used, model, **asked).total_price)
            assert price.cost_usd(use) == pytest.approx(theirs), (provider, model, tokens)


def test_every_length_of_a_prompt_that_has_a_price_of_its_own_is_told_apart() -> None:
    starts = {
        tier.start
        for provider in get_snapshot().providers
        for model in provider.models
        for prices in ([model.prices] if not isinstance(model.prices, list) else [one.prices for one in model.prices])
        for rate in vars(prices).values()
        for tier in getattr(rate, "tiers", ())
    }
    assert starts <= set(CONTEXT_TOKENS)


@pytest.mark.parametrize(
    "provider", ["anthropic", "openai", "azure", "bedrock", "google", "vertex", "groq", "xai", "moonshot", "together"]
)
def test_victors_names_of_providers_are_known(provider: str) -> None:
    from genai_prices.data_snapshot import find_provider_by_id

    assert find_provider_by_id(get_snapshot().providers, provider) is not None


@pytest.mark.parametrize("provider", ["ollama", "lmstudio", "vllm", "llamacpp", "mlx"])
def test_what_a_local_server_serves_has_no_public_price(provider: str) -> None:
    assert public_price(provider, "gpt-4o", AT) is None
    assert public_price("", "gpt-4o", AT) is not None


@pytest.mark.parametrize("model", ["scripted", "", "gpt-of-ours", "\x00", "a" * 10_000])
def test_a_model_that_nobody_prices_has_no_public_price(model: str) -> None:
    assert public_price("openai", model, AT) is None


def test_a_run_has_the_price_that_held_when_it_began() -> None:
    model = next(
        (provider.id, model)
        for provider in get_snapshot().providers
        for model in provider.models
        if isinstance(model.prices, list)
        and len(model.prices) == 2
        and model.prices[0].prices != model.prices[1].prices
        and isinstance(getattr(model.prices[1].constraint, "start_date", None), date)
        and provider.find_model(model.id) is model
    )
    provider, found = model
    start = found.prices[1].constraint.start_date
    begins = datetime(start.year, start.month, start.day, tzinfo=UTC).timestamp()
    before, after = (public_price(provider, found.id, begins + seconds) for seconds in (-7200, 7200))
    assert before != after


def test_the_source_is_told_with_its_version_and_the_date_of_its_newest_price() -> None:
    from importlib.metadata import version

    found = source()
    assert found is not None
    assert found.package == f"genai-prices {version('genai-prices')}"
    assert date(2026, 1, 1) < found.as_of <= datetime.now(tz=UTC).date()


async def test_an_event_loop_does_not_load_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_prices, "is_loaded", False)
    assert public_price("openai", "gpt-4o", AT) is None


def test_nothing_is_loaded_before_a_price_is_asked_for() -> None:
    code = (
        "import sys, victor_autotune_plugin, victor_autotune_plugin.plugin, victor_autotune_plugin._tuning.runtime\n"
        "assert 'genai_prices' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_broken_package_costs_only_the_public_prices(sources: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from victor_autotune_plugin import failsafe

    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
    monkeypatch.setattr(public_prices, "is_loaded", False)
    sources.project_file("prices: {m: {input_per_million_usd: 1, output_per_million_usd: 1}}")
    resolver = sources.load()
    assert resolver.price_for(TokenUse("gpt-4o", provider="openai"), AT) is None
    assert resolver.price_for(TokenUse("m", provider="openai"), AT) == Price(1, 1)
    assert source() is None
    assert [fault.where for fault in failsafe.seen()] == ["public prices"]


def test_the_settings_beat_the_public_prices_and_can_turn_them_off(sources: Any) -> None:
    use = TokenUse("gpt-4o", provider="openai")
    assert sources.load().price_for(use, AT) == public_price("openai", "gpt-4o", AT)
    sources.project_file("prices: {gpt-*: {input_per_million_usd: 1, output_per_million_usd: 1}}")
    assert sources.load().price_for(use, AT) == Price(1, 1)
    sources.project_file("public_prices: false")
    assert sources.load().price_for(use, AT) is None


def test_the_prices_of_a_test_come_first(sources: Any) -> None:
    sources.project_file("prices: {m: {input_per_million_usd: 1, output_per_million_usd: 1}}")
    resolver = sources.load()
    kept = KeptPrices(AT, {"m": Price(2, 2)}, {"openai/gpt-4o": Price(3, 3)})
    assert resolver.price_for(TokenUse("m"), AT, kept) == Price(2, 2)
    assert resolver.price_for(TokenUse("gpt-4o", provider="openai"), AT, kept) == Price(3, 3)
    assert resolver.price_for(TokenUse("gpt-5", provider="openai"), 0, kept) == public_price("openai", "gpt-5", AT)
