"""Spans and metrics of team runs, through the OpenTelemetry providers that the application set.

Nothing here sets a provider, and nothing here raises: a fault is reported to `failsafe` and the run goes on. An
application may set its providers long after the plugin was imported, and Victor does so, too. So the global provider is
asked for each time, and what was made from it is kept only while it stays the same. While none is set, nothing is
measured. The OpenTelemetry API is imported at the first run, not with these modules.
"""
