"""The Python API: `PerformanceAnalyzer` and `PerformanceAutotuner`."""
