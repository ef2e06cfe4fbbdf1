"""The loop that tunes a team: plan a run, judge it, change the plan, and what explains each change.

`tuning` decides, over its parts: `changes` makes one change as one transaction, `evidence` feeds judges from the
store, `proposals` says what to test next, `replay` decides again from the record.
"""

from __future__ import annotations
