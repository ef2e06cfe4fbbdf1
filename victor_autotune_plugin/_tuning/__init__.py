"""The loop that tunes a team: plan a run, judge it, change the plan, and what explains each change.

`tuning` is its face: the plan of a run, and what follows from a finished one (`case`). `starting` says what to test
next, from what strategies suggest (`proposals`) and the tuner weighs (`challengers`, `tuners`); `verdicts` judges what
is open, with judges fed from the store (`evidence`). `changes` makes one change as one transaction; `manual` and
`rollback` do what a person asks for. `replay` decides again from the record, and `advice` says what would be tested
next.
"""

from __future__ import annotations
