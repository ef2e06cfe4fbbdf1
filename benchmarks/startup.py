"""What the plugin adds to a start of Victor.

`victor --help` runs in turn with the plugin and with it hidden, in a throw-away home; and the plugin's own import and
registration are timed in a process in which Victor's command line is loaded, as it is when Victor loads plugins.

    python benchmarks/startup.py --pairs 15
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from _report import parser, show

_HELP = """
import sys
from victor_autotune_plugin.scripted import sandboxed_victor
sandboxed_victor.main(["--help"])
"""

_OWN = """
import json, sys, time
import victor.ui.cli
before = set(sys.modules)
begun = time.perf_counter()
from victor_autotune_plugin.plugin import plugin
imported = time.perf_counter()
class Context:
    def register_command(self, name, app): pass
plugin.register(Context())
first = time.perf_counter()
plugin.register(Context())
again = time.perf_counter()
new = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
heavy = [name for name in ("numpy", "scipy", "sqlalchemy", "alembic", "opentelemetry", "ruamel") if name in new]
print(json.dumps({"import ms": 1000 * (imported - begun), "register ms": 1000 * (first - imported),
                  "register again ms": 1000 * (again - first), "new packages": new, "heavy": heavy}))
"""
