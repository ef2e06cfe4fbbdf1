"""From recorded runs to insights. Pure: values in, values out. numpy is loaded on first use.

    history = RunHistory(team_runs)                      # or _metricfiles.read_history(path).history
    insights = analyze(history)                                    # of its only team; else analyze(history, key=…)

- `run_history`: `RunHistory`: `TeamRun`s or `Row`s of any number of teams in compact columns.
- `bottlenecks`: `analyze`, `analyze_all`, the insights of a team or of all, worst first; `summary`, a team's figures.
- `estimates`: `DEFAULT_BASELINES`, the constants of teams without a history of their own.
"""
