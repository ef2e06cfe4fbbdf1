"""Who uses whose work in a team: found in what a run gave its members, and what follows for its plans.

It is pure: values in, values out. The host notes a run in a `RunTrace`, `edges.flow_of` finds the run's `RunFlow` in
it, the tuning loop adds that to the team's `TeamFlow`, and `verdict` says what holds for plans.
"""
