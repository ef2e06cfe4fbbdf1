"""The public prices of models, from the package `genai-prices`, which holds them as data: nothing is fetched.

Its import takes .15 s, so it happens on first use and never on an event loop.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from .. import failsafe
from .._model.price import KeptPrices, LongContextPrice, Price

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot

    from .._model.run import TokenUse
    from .team_settings import Settings

_PACKAGE: Final = "genai-prices"
_RATES: Final = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "output_reasoning_mtok")

is_loaded = False
"""Whether prices are loaded, or can't be."""


@frozen
class PriceSource:
    """Where public prices come from.

    Attributes:
        package: Name and version of the package.
        as_of: Date of its newest price that holds today.
    """

    package: str
    as_of: date


def _may_load() -> bool:
    """Whether no event loop runs here that loading would hold up."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


def load() -> None:
    """Load the prices, unless they are."""
    _snapshot()


def public_price(provider: str, model: str, at: float) -> Price | None:
    """Return the public price of a model, or None when none is known.

    None, too, while prices are not loaded and an event loop runs here, which loading them would hold up.

    Args:
        provider: The provider's name in Victor; empty to find it by the model. A model that a provider without public
            prices serves, such as a local server, has none.
        model: Model name as it was called.
        at: Unix time at which it was used, seconds; prices of long ago are known, too.
    """
    snapshot = _snapshot() if is_loaded or _may_load() else None
    if snapshot is None:
        return None
    with failsafe.guard("public prices"):
        return _look_up(snapshot, provider, model, at)
    return None


def prices_to_keep(settings: Settings, uses: Iterable[TokenUse], at: float) -> KeptPrices:
    """Return the prices that a test begins with.

    Args:
        uses: Which models the team used so far.
        at: Unix time, seconds.
    """
    if not settings.public_prices:
        return KeptPrices(at, settings.prices)
    models = sorted({(use.provider, use.model) for use in uses})
    found = {f"{provider}/{model}": public_price(provider, model, at) for provider, model in models}
    return KeptPrices(at, settings.prices, {name: price for name, price in found.items() if price is not None})


def package() -> str | None:
    """Return name and version of the package that holds the prices, without loading it; None where there is none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{_PACKAGE} {version(_PACKAGE)}"
    except PackageNotFoundError:
        return None


def source() -> PriceSource | None:
    """Return where the prices come from, or None when they can't be loaded."""
    snapshot = _snapshot()
    if snapshot is None:
        return None
    from genai_prices.types import StartDateConstraint

    today = datetime.now(tz=UTC).date()
    starts = (
        one.constraint.start_date
        for provider in snapshot.providers
        for model in provider.models
        if isinstance(model.prices, list)
        for one in model.prices
        if isinstance(one.constraint, StartDateConstraint)
    )
    newest = max((start for start in starts if start <= today), default=date.min)
    return PriceSource(package() or _PACKAGE, newest)


def _snapshot() -> DataSnapshot | None:
    """Return the prices, those that the application fetched by the package's own means included."""
    global is_loaded
    try:
        from genai_prices.data_snapshot import get_snapshot

        return get_snapshot()
    except Exception as error:  # the package is missing or broken
        failsafe.report("public prices", error)
        return None
    finally:
        is_loaded = True


def _look_up(snapshot: DataSnapshot, provider: str, model: str, at: float) -> Price | None:
    try:
        _, found = snapshot.find_provider_model(model, None, provider or None, None)
    except LookupError:
        return None
    prices = found.get_prices(datetime.fromtimestamp(at, tz=UTC))
    rates = [getattr(prices, name, None) for name in _RATES]
    if rates[0] is None and rates[1] is None:  # it is billed by something else than tokens
        return None
    starts = {tier.start for rate in rates for tier in getattr(rate, "tiers", ())}
    above = (LongContextPrice(*_rates(rates, start), above_tokens=start) for start in sorted(starts))
    return Price(*_rates(rates, 0), long_context=above)


def _rates(rates: list[Any], context: int) -> Iterable[Any]:
    """Give the rates of calls with more prompt tokens than `context`: the first two are always known."""
    for place, rate in enumerate(rates):
        amount = rate
        if hasattr(rate, "tiers"):
            amount = rate.base
            for tier in rate.tiers:
                amount = tier.price if tier.start <= context else amount
        yield (0.0 if place < 2 else None) if amount is None else float(amount)
