"""Every query of the dashboard and the alert rules asks for what the plugin really emits, as Prometheus names it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import promql_parser as promql
import pytest
import yaml
from attrs import evolve
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY

from victor_autotune_plugin._model.experiment import ChangeAction
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._telemetry.metrics import record_awaiting, record_change, record_run, record_score
from victor_autotune_testing import providers

FOLDER = Path(__file__).parents[2] / "docs" / "grafana"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
VARIABLES = {"$workflow": ".*", "$team": ".*", "$window": "6h", "$__range": "7d", "$__rate_interval": "5m"}

Emitted = Mapping[str, Mapping[str, set[str]]]
"""Values of each label of each sample that Prometheus gets."""


@pytest.fixture
def emitted(make_run: Callable[..., TeamRun]) -> Iterator[Emitted]:
    """What comes out of the exporter for Prometheus after runs of every outcome and changes of every kind."""
    reader = PrometheusMetricReader()
    provider = MeterProvider([reader])
    with providers.use(meter_provider=provider):
        for arm in ("control", "treatment"):
            for outcome in ({}, {"timed_out": True}, {"cancelled": True}, {"error_class": "RuntimeError"}):
                run = make_run(arm=arm, experiment_id="e", cost_usd=0.1, success=not outcome, **outcome)
                record_run(evolve(run, members=[evolve(one, success=not outcome) for one in run.members]))
        for action in get_args(ChangeAction):
            record_change(action, "review", "reviewers")
        record_score(0.5, "tests", "review", "reviewers")
        record_awaiting(1, "review", "reviewers")
    found: dict[str, dict[str, set[str]]] = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    yield found
    provider.shutdown()


def with_variables(text: str) -> str:
    for variable, value in sorted(VARIABLES.items(), reverse=True):
        text = text.replace(variable, value)
    return text


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def dashboard_queries() -> list[tuple[str, str, str]]:
    """Where each query stands, the query, and the legend that is made of its labels."""
    found = [
        (panel["title"], target["expr"], target["legendFormat"])
        for panel in panels()
        for target in panel["targets"]
        if target["datasource"]["type"] == "prometheus"
    ]
    found += [(one["name"], one["expr"], "") for one in DASHBOARD["annotations"]["list"]]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert asked is not None
            found.append((variable["name"], f"count by ({asked[2]}) ({asked[1]})", ""))
    return found


def alert_queries() -> list[tuple[str, str, str]]:
    texts = {rule["alert"]: " ".join(rule["annotations"].values()) for rule in RULES}
    return [(rule["alert"], rule["expr"], texts[rule["alert"]].replace("$labels.", "")) for rule in RULES]


def below(node: Any) -> Iterator[Any]:
    """An expression and all in it."""
    yield node
    for name in ("lhs", "rhs", "expr", "vector_selector", "args"):
        inner = getattr(node, name, None)
        for one in inner if isinstance(inner, list) else [inner]:
            if one is not None:
                yield from below(one)


def problems(query: str, legend: str, emitted: Emitted) -> list[str]:
    """What of a query no sample of the plugin has."""
    told, grouped = [], set()
    for node in below(promql.parse(with_variables(query))):
        if isinstance(node, promql.VectorSelector):
            labels = emitted.get(node.name)
            if labels is None:
                told.append(f"no metric {node.name}")
                continue
            for matcher in node.matchers.matchers:
                wanted = set(matcher.value.split("|")) - {".*", ""}
                told += [f"{node.name} has no label {matcher.name}"] * (matcher.name not in labels)
                unknown = wanted - labels.get(matcher.name, wanted)
                told += [f"{node.name}: {matcher.name} is never {value}" for value in sorted(unknown)]
        elif isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            inside = [one.name for one in below(node.expr) if isinstance(one, promql.VectorSelector)]
            grouped.update(node.modifier.labels)
            for label in node.modifier.labels:
                told += [f"{name} has no label {label} to group by" for name in inside if label not in emitted[name]]
        elif isinstance(node, promql.Call) and node.func.name == "histogram_quantile":
            inside = [one.name for one in below(node) if isinstance(one, promql.VectorSelector)]
            told += [f"{name} has no buckets" for name in inside if "le" not in emitted.get(name, ())]
    used = set(re.findall(r"\{\{\s*([a-z_]+)\s*\}\}", legend))
    return [*told, *(f"the legend's {label} is in no group" for label in sorted(used - grouped))]


def test_the_dashboard_asks_for_what_is_emitted(emitted):
    wrong = {
        where: found for where, query, legend in dashboard_queries() if (found := problems(query, legend, emitted))
    }
    assert wrong == {}
    assert len(dashboard_queries()) > 25


def test_alerts_ask_for_what_is_emitted(emitted):
    wrong = {where: found for where, query, text in alert_queries() if (found := problems(query, text, emitted))}
    assert wrong == {}
    assert len(RULES) == 8


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("sum(rate(victor_autotune_run_total[5m]))", "no metric victor_autotune_run_total"),
        ('victor_autotune_runs_total{victor_autotune_arm="control"}', "has no label victor_autotune_arm"),
        ('victor_autotune_changes_total{victor_autotune_change_action="undone"}', "is never undone"),
        ("sum by (feature_flag_result_variant) (victor_autotune_changes_total)", "to group by"),
        ("histogram_quantile(0.5, victor_autotune_run_tokens_sum)", "has no buckets"),
    ],
)
def test_the_check_finds_a_query_that_asks_for_something_else(emitted, query, problem):
    (found,) = problems(query, "", emitted)
    assert problem in found


def test_the_log_panel_asks_for_attributes_of_the_events():
    (query,) = [target["expr"] for panel in panels() if panel["type"] == "logs" for target in panel["targets"]]
    page = (FOLDER.parent / "telemetry.md").read_text(encoding="utf-8")
    attributes = {name.replace(".", "_") for name in re.findall(r"^\| `([a-z_.]+)` \| [EC ]*C \|", page, re.MULTILINE)}
    asked = set(re.findall(r"\| (\w+) (?:!=|=~)", query))
    assert asked
    assert asked <= attributes


def test_panels_do_not_overlap_and_say_what_they_show():
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)
    assert [panel["id"] for panel in DASHBOARD["panels"]] == sorted({panel["id"] for panel in DASHBOARD["panels"]})
    assert [panel["title"] for panel in panels() if not panel["description"]] == []


def test_an_alert_tells_what_happened_and_a_command_that_tells_more():
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in {"info", "warning"}


def test_the_page_lists_the_alerts():
    page = (FOLDER.parent / "grafana.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(Autotune\w+)` \|", page, re.MULTILINE) == [rule["alert"] for rule in RULES]
