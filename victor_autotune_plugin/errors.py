"""Errors that a person can fix.

```
AutotuneError                    anything the plugin tells a person; exit code 2 on the command line
├── SettingsError                a settings file, environment variable or option is wrong
├── WorkflowError                a workflow file can't be used
├── MetricsError                 a metrics file can't be read or written, or a row of it is wrong
├── ScriptError                  a script of the scripted model can't be used (in `scripted`)
├── PlanError                    a plan can't run with this team, or crosses a limit
├── StoreError                   the store can't be used
│   ├── StoreUnavailableError    unreachable, locked, full, or read-only
│   ├── StoreVersionError        written by a newer version of the plugin
│   └── StaleStateError          another process changed the state meanwhile; read it again
└── HostError                    Victor is missing, or not as it was
```

Inside a team run none of them reaches the user's code: the run goes on as configured and the fault is
reported by `failsafe`.
"""

from __future__ import annotations

__all__ = [
    "AutotuneError",
    "HostError",
    "MetricsError",
    "PlanError",
    "SettingsError",
    "StaleStateError",
    "StoreError",
    "StoreUnavailableError",
    "StoreVersionError",
    "WorkflowError",
]


def _warn_of_mend(what: str) -> None:
    import warnings

    warnings.warn(f"{what} goes in 0.3: it is called hint", DeprecationWarning, stacklevel=3)


class AutotuneError(Exception):
    """Something is wrong, and the message says what, where, and how to fix it.

    Args:
        message: What is wrong.
        where: File, `file:line`, option, or variable that holds it.
        hint: What to do about it: the command, or the nearest valid value.
        mend: What 0.1 called the hint; goes in 0.3.
    """

    def __init__(
        self, message: str, *, where: str | None = None, hint: str | None = None, mend: str | None = None
    ) -> None:
        super().__init__(message)
        if mend is not None:
            _warn_of_mend("AutotuneError(mend=…)")
        self.message = message
        self.where = where
        self.hint = mend if hint is None else hint

    @property
    def mend(self) -> str | None:
        """What 0.1 called the hint; goes in 0.3."""
        _warn_of_mend("AutotuneError.mend")
        return self.hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  {self.hint}" if self.hint else text


class SettingsError(AutotuneError):
    """A settings file, environment variable or option is wrong."""


class WorkflowError(AutotuneError):
    """A workflow file, or a file with a team's configuration, can't be used."""


class MetricsError(AutotuneError):
    """A metrics file can't be read or written, or a row of it is wrong."""


class PlanError(AutotuneError):
    """A plan can't run with this team, or crosses a limit."""


class StoreError(AutotuneError):
    """The store can't be used."""


class StoreUnavailableError(StoreError):
    """The store is unreachable, locked, full, or read-only."""


class StoreBusyError(StoreUnavailableError):
    """Another process holds the lock; trying again helps."""


class StoreFullError(StoreUnavailableError):
    """The disk that the store is on is full; what needs less room may still work."""


class StoreVersionError(StoreError):
    """The store was written by a newer version of the plugin."""


class StaleStateError(StoreError):
    """Another process changed the state meanwhile; read it again and repeat."""


class LeaseLostError(StaleStateError):
    """Another process judges the team now."""


class HookTimeoutError(AutotuneError):
    """A hook of a third party took too long."""


class HostError(AutotuneError):
    """Victor is missing, or not as this version of the plugin knows it."""
