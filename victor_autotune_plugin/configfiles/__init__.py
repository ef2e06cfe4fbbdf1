"""Files that hold the configuration of a team: read, changed in place, and restored.

A file is a workflow of Victor's with team steps, or a plain YAML or JSON mapping with a team's keys. What is written
replaces single values; every other character, comments included, stays as it was. Nothing here imports Victor.
"""

from __future__ import annotations

from .._values.files import restore
from .team import read_team_config

__all__ = ["read_team_config", "restore"]
