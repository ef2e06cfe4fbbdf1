"""The loop that tunes a team: plan a run, judge it, change the plan, and explain each change.

- `runtime` holds the settings, store, hooks and loop of a process; `hookmanager` calls hooks;
- `recorder` writes runs, and one change of a plan as one transaction; `manual` makes those that a person asks for;
- `loop` is the entry: the plan of a run, and what follows from a finished one;
- `next_test` chooses what to test, from what strategies suggest (`suggestions`) and the tuner weighs (`tuner_cache`);
- `judges` judges the open experiment, from the store;
- `replay` decides again from the record.
"""
