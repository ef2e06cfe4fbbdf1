"""`SettingsResolver`: all sources read once, and each team's settings out of them."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from .._model.price import KeptPrices, Price, find_price
from .._values.fields import Kind
from .._values.nodes import from_plain
from ..errors import SettingsError
from . import public_prices
from .environment import can_tune
from .keys import DATABASE_URL, IGNORED, leaves, plain_value
from .layers import (
    FILE_NAME,
    Entry,
    Layer,
    SourceReader,
    from_environ,
    from_file,
    from_overrides,
    log_retired,
    raise_if_any,
    victor_dir_name,
)
from .merge import build, contradictions, merge
from .references import KnownTeams, unknown_names
from .team_settings import STRATEGIES, Settings
from .trust import TRUST_FILE, ActingSource, TrustStore, trusted_part

if TYPE_CHECKING:
    from .._model.run import TokenUse

SECONDS_BETWEEN_LOOKS: Final = 1.0
"""How often at most `SettingsResolver.changed` looks at the files."""

_MOST_CACHED: Final = 4_096


class SettingsResolver:
    """The settings of a project. Make one with `load`; it is safe to use from several threads."""

    def __init__(
        self,
        *,
        kinds: Mapping[str, Kind],
        strategies: tuple[str, ...],
        files: list[Layer],
        forced: list[Layer],
        looks: dict[Path, tuple[int, ...] | None],
        arguments: dict[str, Any],
        trust: TrustStore,
        acting: ActingSource | None,
    ) -> None:
        """Take what `load` read: layers are the weakest first, `looks` is what each file looked like before."""
        self._project = Path(arguments["project"])
        self._log: bool = arguments["log"]
        self._scored_by_hooks: bool = arguments["scored_by_hooks"]
        self._trust = trust
        self._acting = acting
        self._kinds = kinds
        self._strategies = strategies
        self._files = files
        self._forced = forced
        self._looks = looks
        self._arguments = arguments
        self._cache: dict[tuple[str, str], tuple[object, Settings]] = {}
        self._named_workflows = {scope[0] for layer in (*files, *forced) for scope in layer.scopes if scope}
        self._next_look = monotonic() + SECONDS_BETWEEN_LOOKS
        self._changed = False
        top: dict[str, Entry] = {}
        for layer in (*files, *forced):
            top.update(layer.get(()))
        self._url = top.get(DATABASE_URL)
        self._price_entries = {key: entry for key, entry in top.items() if key.startswith("prices.")}
        self._prices = {
            key.removeprefix("prices."): entry.value
            for key, entry in self._price_entries.items()
            if isinstance(entry.value, Price)
        }
        self._price_of: dict[str, Price | None] = {}
        self._public: dict[tuple[str, str, int], Price | None] = {}
        self._public_prices = "public_prices" not in top or bool(top["public_prices"].value)

    @classmethod
    def load(
        cls,
        project: Path,
        *,
        home: Path | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, object] | None = None,
        extra_strategies: Iterable[str] = (),
        scored_by_hooks: bool = False,
        log: bool = True,
    ) -> SettingsResolver:
        """Read all sources.

        Args:
            project: The project's folder.
            home: The folder that holds the user's Victor folder; by default the user's home.
            environ: Environment variables; by default the process's.
            overrides: Values of command-line options by dotted key; None sets nothing.
            extra_strategies: Names of strategies that third parties brought.
            scored_by_hooks: Whether third parties may score runs.
            log: Whether to log, once a process, what is ignored for want of the user's trust.

        Raises:
            SettingsError: Something in a source is wrong; the message tells all of it.
        """
        variables = os.environ if environ is None else environ
        strategies = tuple(dict.fromkeys((*STRATEGIES, *extra_strategies)))
        kinds = leaves(strategies)
        files: list[Layer] = []
        looks: dict[Path, tuple[int, ...] | None] = {}
        places = tuple(_places(Path(project), home, variables))
        keeps_trust = places[0].path.with_name(TRUST_FILE)
        looks[keeps_trust] = _look(keeps_trust)
        # A user without a home can't trust anything: the folder is the project's own.
        has_home = not places[0].is_projects
        trust = TrustStore.load(keeps_trust) if has_home else TrustStore(keeps_trust, problem="you have no home folder")
        acting: ActingSource | None = None
        for place in places:
            looks[place.path] = _look(place.path)
            layer = from_file(place.path, place.shown, kinds)
            if place.is_projects:
                layer, acting = trusted_part(layer, place.shown, Path(project), kinds, trust, log=log)
            files.append(layer)
        forced = [from_environ(variables, kinds), from_overrides(overrides or {}, kinds)]
        arguments = {
            "project": project,
            "home": home,
            "environ": environ,
            "overrides": overrides,
            "extra_strategies": strategies,
            "scored_by_hooks": scored_by_hooks,
            "log": log,
        }
        resolver = cls(
            kinds=kinds,
            strategies=strategies,
            files=files,
            forced=forced,
            looks=looks,
            arguments=arguments,
            trust=trust,
            acting=acting,
        )
        resolver._check()
        return resolver

    def reload(self) -> SettingsResolver:
        """Return a new resolver from the same sources as they are now.

        Raises:
            SettingsError: As in `load`.
        """
        return self.load(**self._arguments)

    def changed(self) -> bool:
        """Whether a settings file has changed, come or gone since it was read.

        Looks at the files at most once in `SECONDS_BETWEEN_LOOKS`; once true it stays true.
        """
        now = monotonic()
        if not self._changed and now >= self._next_look:
            self._next_look = now + SECONDS_BETWEEN_LOOKS
            self._changed = any(_look(path) != look for path, look in self._looks.items())
        return self._changed

    @property
    def database_url(self) -> str | None:
        """URL of the store, or None for the project's own SQLite file."""
        return None if self._url is None or self._url.value is None else str(self._url.value)

    @property
    def trust(self) -> TrustStore:
        """What the user trusts."""
        return self._trust

    @property
    def acting(self) -> ActingSource | None:
        """What the project's file sets by which the machine acts, trusted or not, or None."""
        return self._acting

    @property
    def ignored(self) -> ActingSource | None:
        """What the project's file sets and does not count until the user trusts it, or None."""
        acting = self._acting
        return None if acting is None or self._trust.trusts(self._project, acting) else acting

    def acting_of(self, workflow: str, metadata: object, metadata_source: str | None = None) -> ActingSource | None:
        """Return what a workflow's own metadata sets by which the machine acts, trusted or not, or None.

        Raises:
            SettingsError: The metadata refers to itself.
        """
        return self._own(workflow, metadata, metadata_source)[1]

    def unknown_names(self, known: KnownTeams, own: Iterable[tuple[str, object, str]] = ()) -> list[SettingsError]:
        """Return an error for each workflow, team and member that the settings name and nothing knows.

        The user's own file is not looked at: it may be about other projects.

        Args:
            known: Teams of the project and of its store.
            own: Name, `metadata.autotune` and its place of the project's workflows that have some.
        """
        layers = [*self._files[-1:], *self._forced]
        layers += [self._own(*one)[0] for one in own]
        return unknown_names(layers, known)

    def retired(self, own: Iterable[tuple[str, object, str]] = ()) -> list[SettingsError]:
        """Return an error for each thing that the settings set and that has no effect any more, each once.

        Args:
            own: As for `unknown_names`.
        """
        layers = [*self._files, *self._forced, *(self._own(*one)[0] for one in own)]
        return [one.error for one in dict.fromkeys(problem for layer in layers for problem in layer.retired)]

    @property
    def prices(self) -> Mapping[str, Price]:
        """Prices by model name or pattern."""
        return MappingProxyType(self._prices)

    def price_of(self, model: str) -> Price | None:
        """Return the price of a model by the name it was called by, or None when none is set."""
        if model not in self._price_of:
            self._price_of[model] = find_price(self._prices, model)
        return self._price_of[model]

    @property
    def public_prices(self) -> bool:
        """Whether a model without a price in the settings costs what its provider publishes."""
        return self._public_prices

    def can_price(self) -> bool:
        """Whether a price that `price_for` does not find is unknown, and not only not loaded yet."""
        return not self._public_prices or public_prices.is_loaded

    def price_for(self, use: TokenUse, at: float, kept: KeptPrices | None = None) -> Price | None:
        """Return the price of a use: that of the settings, else the public one, else None.

        Args:
            at: Unix time at which the run began, seconds.
            kept: The prices of the test that the run takes part in, which come first.
        """
        if kept is not None:
            found = find_price(kept.listed, use.model) or (kept.public or {}).get(f"{use.provider}/{use.model}")
            if found is not None:
                return found
            at = kept.at
        listed = self.price_of(use.model)
        if listed is not None or not self._public_prices:
            return listed
        key = (use.provider, use.model, int(at // 3600))  # some prices hold for certain hours
        if key in self._public:
            return self._public[key]
        found = public_prices.public_price(use.provider, use.model, at)
        if public_prices.is_loaded:
            if len(self._public) >= _MOST_CACHED:
                self._public.clear()
            self._public[key] = found
        return found

    def for_team(
        self,
        workflow: str,
        team_id: str,
        metadata: Mapping[str, object] | None = None,
        metadata_source: str | None = None,
    ) -> Settings:
        """Return the settings of a team. Asking again with equal arguments costs a few microseconds at most.

        Args:
            metadata: The workflow's own `metadata.autotune`, or None.
            metadata_source: Where that stands, for errors and `explain`.

        Raises:
            SettingsError: The metadata is wrong, or contradicts the other sources.
        """
        if metadata is None and workflow not in self._named_workflows:
            workflow = team_id = ""  # thousands of teams may share these
        known = self._cache.get((workflow, team_id))
        if known is not None and known[0] == metadata:
            return known[1]
        own, _ = self._own(workflow, metadata, metadata_source)
        entries = self._entries(workflow, team_id, own)
        settings = evolve(build(entries, self._strategies), prices=self._prices)
        problems = list(own.problems)
        found = contradictions(settings, entries, scored_by_hooks=self._scored_by_hooks)
        problems += [problem for keys, problem in found if own.failed.isdisjoint(keys)]
        raise_if_any(problems)
        if not can_tune() and settings.mode not in ("off", "observe"):
            settings = evolve(settings, mode="observe")
        if len(self._cache) >= _MOST_CACHED:
            self._cache.clear()
        # A copy, so that a change of the caller's mapping is noticed.
        self._cache[workflow, team_id] = (copy.deepcopy(metadata), settings)
        return settings

    def explain(
        self,
        workflow: str,
        team_id: str,
        metadata: Mapping[str, object] | None = None,
        metadata_source: str | None = None,
    ) -> tuple[tuple[str, object, str], ...]:
        """Return every value that holds for a team, and its source; the arguments are those of `for_team`.

        Returns:
            `(dotted key, value, source)` of each; the source is `default`, `file:line`, `env VARIABLE`,
            `option --name`, or the metadata's source. A password in the database URL is left out.

        Raises:
            SettingsError: As in `for_team`.
        """
        settings = self.for_team(workflow, team_id, metadata, metadata_source)
        entries = self._entries(workflow, team_id, self._own(workflow, metadata, metadata_source)[0])
        rows: list[tuple[str, object, str]] = []
        for key in self._kinds:
            if key in IGNORED:
                continue
            source = entries[key].where if key in entries else "default"
            value = settings.value(key)
            rows.append((key, plain_value(key, value), source))
        url = self.database_url
        if url is not None:
            from ..storage.location import without_secrets

            url = without_secrets(url)
        rows.append((DATABASE_URL, url, "default" if self._url is None else self._url.where))
        rows.extend((key, entry.value, entry.where) for key, entry in sorted(self._price_entries.items()))
        return tuple(rows)

    def source_of(
        self,
        key: str,
        workflow: str,
        team_id: str,
        metadata: Mapping[str, object] | None = None,
        metadata_source: str | None = None,
    ) -> str:
        """Return the source of one value that holds for a team, as `explain` names it.

        Args:
            key: The value's dotted key, which is no price's.
            workflow: Workflow name.
            team_id: Team step id.
            metadata: As for `for_team`, which is to have been asked with it.
            metadata_source: As for `for_team`.
        """
        entries = self._entries(workflow, team_id, self._own(workflow, metadata, metadata_source)[0])
        return entries[key].where if key in entries else "default"

    def _own(self, workflow: str, metadata: object, source: str | None) -> tuple[Layer, ActingSource | None]:
        """Read a workflow's own metadata: what counts of it, and what acts."""
        if metadata is None:
            return Layer(), None
        where = source or f"workflow {workflow} (metadata.autotune)"
        try:
            node = from_plain(metadata, where)
        except RecursionError as error:
            raise SettingsError("this refers to itself", where=where, hint="Take the alias (`*name`) out.") from error
        layer = SourceReader(self._kinds).scope(node, (workflow,), "")
        if self._log:
            log_retired([layer])
        return trusted_part(layer, f"workflow {workflow}", self._project, self._kinds, self._trust, log=self._log)

    def _entries(self, workflow: str, team_id: str, own: Layer) -> dict[str, Entry]:
        if not own.scopes and workflow not in self._named_workflows:
            return self._common_entries
        return merge((*self._files, own, *self._forced), workflow, team_id, self._kinds)

    @cached_property
    def _common_entries(self) -> dict[str, Entry]:
        """What holds for every team that no source names."""
        return merge((*self._files, *self._forced), "", "", self._kinds)

    def _check(self) -> None:
        """Raise what is wrong in the sources, contradictions among all teams that they name included."""
        layers = (*self._files, *self._forced)
        problems = [problem for layer in layers for problem in layer.problems]
        failed = {key for layer in layers for key in layer.failed}
        for workflow, team_id in self._named():
            entries = self._entries(workflow, team_id, Layer())
            settings = build(entries, self._strategies)
            for keys, problem in contradictions(settings, entries, scored_by_hooks=self._scored_by_hooks):
                if failed.isdisjoint(keys):
                    problems.append(problem)
        raise_if_any(problems)
        if self._log:
            log_retired(layers)

    def _named(self) -> Iterator[tuple[str, str]]:
        """Give one pair for all teams that no source names, and those that one does."""
        yield "", ""
        for layer in self._files:
            for scope in layer.scopes:
                if scope:
                    yield scope[0], scope[1] if len(scope) == 2 else ""


@frozen
class _Place:
    """A place of a settings file.

    Attributes:
        path: The file.
        shown: Its name for people.
        is_projects: Whether it comes with the project, so that the user need not know what is in it.
    """

    path: Path
    shown: str
    is_projects: bool


def _places(project: Path, home: Path | None, environ: Mapping[str, str]) -> Iterator[_Place]:
    """Give the places of settings files, the weakest first."""
    folder = victor_dir_name(environ)
    own = project / folder / FILE_NAME
    try:
        users = (Path.home() if home is None else home) / folder / FILE_NAME
    except RuntimeError:  # the process has no home
        yield _Place(own, f"{folder}/{FILE_NAME}", True)
        return
    is_users = users.absolute() == own.absolute()
    if not is_users:
        yield _Place(users, f"~/{folder}/{FILE_NAME}", False)
    yield _Place(own, f"{folder}/{FILE_NAME}", not is_users)


def _look(path: Path) -> tuple[int, ...] | None:
    """What changes when a file does, or None while there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino
