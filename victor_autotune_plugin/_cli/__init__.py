"""`victor autotune …`: one file a command group, and `rendering` for what a screen shows.

Victor imports `app` at every start, so the modules of the commands import nothing heavy until a command runs.
"""
