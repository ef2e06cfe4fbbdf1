"""Spans and metrics of team runs, through the OpenTelemetry providers that the application set.

Nothing here sets a provider, and nothing here raises: a fault is reported to `faults` and the run goes on. The
OpenTelemetry API is imported at the first run, not with these modules.
"""
