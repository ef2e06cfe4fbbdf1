"""What Victor loads: registration, command, health. Nothing heavy happens here; Victor loads it at every start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

NAME = "autotune"


class AutotunePlugin:
    """Victor's view of the plugin (protocol `victor_contracts.core.plugins.VictorPlugin`)."""

    @property
    def name(self) -> str:
        """The plugin's name, and the name of its command."""
        return NAME

    @property
    def version(self) -> str:
        """Version of the package, which `victor plugin list` shows."""
        from importlib.metadata import version

        return version("victor-autotune-plugin")

    def register(self, context: Any) -> None:
        """Intercept team runs and add `victor autotune`. Victor calls it several times in a process."""
        from ._host.seams import install

        install(again=False)
        register_command = getattr(context, "register_command", None)
        if register_command is not None:
            from ._cli.app import app

            register_command(NAME, app)

    def get_cli_app(self) -> typer.Typer | None:
        """Return nothing: the command is added by `register`."""
        return None

    def on_activate(self) -> None:
        """Do nothing: the plugin is active from `register` on."""

    def on_deactivate(self) -> None:
        """Write what waits in memory, and close the store."""
        from ._tuning import runtime

        before = runtime.use(None)
        if before is not None:
            before.close()

    async def on_activate_async(self) -> None:
        """Do what `on_activate` does."""

    async def on_deactivate_async(self) -> None:
        """Do what `on_deactivate` does, on another thread: it may wait for scorers that are at work."""
        import asyncio

        await asyncio.to_thread(self.on_deactivate)

    def health_check(self) -> dict[str, Any]:
        """Return what `victor_autotune_plugin.health` documents."""
        from . import failsafe
        from ._host import seams

        found = seams.health()
        broken = {name: fault for name, fault in found.items() if fault is not None}
        return {
            "healthy": seams.is_active() and not broken,
            "active": seams.is_active(),
            "seams": found,
            "broken": broken,
            "faults": [f"{fault.where}: {fault.error} (×{fault.count})" for fault in failsafe.seen()],
        }


plugin = AutotunePlugin()
"""The entry point of group `victor.plugins`."""
