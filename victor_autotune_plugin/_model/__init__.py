"""The values that travel the way of a run: plan, run, experiment, change.

Plain frozen attrs classes. This room imports nothing else of the project, but for how similar two names are, and does
no I/O, so every other room may depend on it.
"""
