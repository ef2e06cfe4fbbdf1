"""Where the prices of models come from, and of which models the cost is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._settings import SettingsResolver
    from ..storage import Store

_LATEST_RUNS: Final = 200


def price_source(resolver: SettingsResolver) -> dict[str, Any]:
    """Return where prices come from, as plain data.

    Returns:
        `listed`, the number of prices in the settings; `public`, the package of the public prices and its version, or
        None where they are turned off or can't be loaded; `as_of`, the ISO date of the newest of those, or None.
    """
    from .._settings import public_prices

    found = public_prices.source() if resolver.public_prices else None
    return {
        "listed": len(resolver.prices),
        "public": None if found is None else found.package,
        "as_of": None if found is None else found.as_of.isoformat(),
    }


def price_source_text(resolver: SettingsResolver, *, with_date: bool = True) -> str:
    """Return where prices come from, for people.

    Args:
        resolver: The project's settings.
        with_date: Whether to tell the date of the newest public price, for which all of them are loaded.
    """
    from .._settings import public_prices

    public = "public ones are off"
    if resolver.public_prices and with_date:
        found = public_prices.source()
        public = "public ones can't be loaded" if found is None else f"{found.package} (newest of {found.as_of})"
    elif resolver.public_prices:
        public = public_prices.package() or "public ones can't be loaded"
    return f"{len(resolver.prices)} in the settings; {public}"


def unpriced_models(store: Store, resolver: SettingsResolver) -> Iterator[tuple[str, str]]:
    """Give each model of the latest runs whose cost is not known now, and why.

    Raises:
        StoreError: If the store can't be used.
    """
    found: dict[str, str] = {}
    for run in store.runs(status="finished", limit=_LATEST_RUNS):
        for use in run.tokens if run.cost_usd is None else ():
            if use.unreported_calls:
                found[use.model] = f"{use.provider or 'its provider'} does not report its tokens"
            elif resolver.price_for(use, run.started_at) is None:
                found.setdefault(use.model, "it has no price")
    yield from sorted(found.items())
