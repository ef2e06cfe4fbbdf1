"""Settings per workflow and team: where they come from, which wins, and errors that point to the line.

Sources by rising precedence: defaults, the user's file, the project's file, the workflow's own
`metadata.autotune`, environment variables `VICTOR_AUTOTUNE_*`, and the command line. Within a source a team's value
beats its workflow's, and that beats the top's. Each key is merged on its own. `SettingsResolver` is the way in.
"""

from __future__ import annotations

from .._model.plan import Limits
from .._model.price import Price
from .._values.nodes import PlacedMapping
from .layers import FILE_NAME, victor_dir_name
from .merge import own_settings
from .resolver import SettingsResolver
from .team_settings import METRICS, MODES, STRATEGIES, ExperimentSettings, Settings, TunerSettings, WatchSettings

__all__ = [
    "FILE_NAME",
    "METRICS",
    "MODES",
    "STRATEGIES",
    "ExperimentSettings",
    "Limits",
    "PlacedMapping",
    "Price",
    "Settings",
    "SettingsResolver",
    "TunerSettings",
    "WatchSettings",
    "own_settings",
    "victor_dir_name",
]
