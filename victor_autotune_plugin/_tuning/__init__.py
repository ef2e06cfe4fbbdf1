"""The loop that tunes a team: plan a run, judge it, change the plan, and explain each change.

- `runtime` holds the settings, store, hooks and loop of a process; `hookmanager` calls hooks, `recorder` writes runs;
- `loop` is the entry: the plan of a run, and what follows from a finished one;
- `next_test` chooses what to test, from what strategies suggest (`suggestions`) and the tuner weighs (`tuner_cache`);
- `judges` judges the open experiment, from the store;
- `changes` makes one change as one transaction, `manual` those that a person asks for;
- `replay` decides again from the record.
"""
