"""What demo, benchmarks and tests use: a scripted model server, a sandboxed Victor, and simulated teams.

It is part of the repository and the source distribution, and not of the wheel.
"""
