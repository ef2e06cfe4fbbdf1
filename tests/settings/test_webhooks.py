"""`notify:` in the settings: what a webhook is, what is wrong with one, and that no secret stands in a file."""

from __future__ import annotations

import jsonschema
import pytest

from victor_autotune_plugin._model.notice import EVENTS, Webhook
from victor_autotune_plugin._settings.keys import shipped
from victor_autotune_plugin.errors import SettingsError

from .conftest import Sources

SLACK = "https://hooks.slack.com/services/T0/B0/abcdef"


def test_webhooks_of_every_kind(sources: Sources) -> None:
    sources.user_file(
        "notify:\n"
        "  ops: {url: 'https://ops.example.com/victor', secret_env: OPS_SECRET, events: [rolled_back, proven]}\n"
        "  chat: {url_env: SLACK_WEBHOOK_URL, format: slack}\n"
    )
    found = sources.load()
    assert found.for_team("w", "t").notify == (
        Webhook("ops", url="https://ops.example.com/victor", secret_env="OPS_SECRET", events=("rolled_back", "proven")),
        Webhook("chat", url_env="SLACK_WEBHOOK_URL", format="slack"),
    )
    assert found.for_team("w", "t").notify[1].events == EVENTS
    rows = {key: value for key, value, _ in found.explain("w", "t")}
    assert rows["notify"] == {
        "ops": {
            "url": "https://ops.example.com/victor",
            "format": "json",
            "secret_env": "OPS_SECRET",
            "events": ["rolled_back", "proven"],
        },
        "chat": {"url_env": "SLACK_WEBHOOK_URL", "format": "slack", "events": list(EVENTS)},
    }


def test_without_any_nobody_is_told(sources: Sources) -> None:
    assert sources.load().for_team("w", "t").notify == ()


@pytest.mark.parametrize(
    ("webhook", "said", "hint"),
    [
        ("{url: 'https://a.example', secret: hunter2}", "ops.secret: a secret must not stand", "secret_env: NAME"),
        ("{url: 'https://a.example', secret_env: hunter2}", "not the name of an environment variable", "OPS_WEBHOOK"),
        ("{url: 'https://me:hunter2@a.example'}", "the address holds a password", "url_env"),
        (f"{{url: '{SLACK}hunter2'}}", "an address of hooks.slack.com is a secret", "SLACK_WEBHOOK_URL"),
        ("{url: 'https://eu.webhook.office.com/hunter2'}", "is a secret", "url_env"),
        ("{url_env: 'https://hooks.slack.com/hunter2'}", "not the name of an environment variable", "capitals"),
        ("{url: 'ftp://hunter2.example'}", "not a web address", "https://"),
        ("{url: 'https://hunter2.example/a b'}", "not a web address", "https://"),
        ("{url: 'https://a.example:99999'}", "not a web address", "https://"),
        ("{format: slack}", "ops has no address", "url_env"),
        ("{url: 'https://a.example', url_env: A}", "both url and url_env", "url"),
        ("{url: 'https://a.example', event: [proven]}", "ops.event is not known", "events"),
        ("{url: 'https://a.example', events: [prooven]}", "ops.events", "proven"),
        ("{url: 'https://a.example', events: []}", "ops.events", ""),
        ("https://hunter2.example", "ops is not a mapping", "url:"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_hint_and_without_what_may_be_a_secret(
    sources: Sources, webhook: str, said: str, hint: str
) -> None:
    sources.user_file(f"mode: auto\nnotify:\n  ops: {webhook}\n")
    with pytest.raises(SettingsError) as caught:
        sources.load()
    told = str(caught.value)
    assert "autotune.yaml:3" in told
    assert said in told
    assert hint in told
    assert "hunter2" not in told


def test_a_webhook_of_a_project_counts_only_once_it_is_trusted(sources: Sources) -> None:
    sources.user_file("notify: {mine: {url: 'https://mine.example'}}")
    sources.project_file("notify: {evil: {url: 'https://evil.example'}}")
    found = sources.load()
    assert [one.name for one in found.for_team("w", "t").notify] == ["mine"]
    assert found.acting is not None
    assert "evil.example" in found.acting.settings[0].shown
    found.trust.with_project(sources.project, [found.acting], 1.0).save()
    assert [one.name for one in sources.load().for_team("w", "t").notify] == ["evil"]


def test_a_team_has_none_of_its_own(sources: Sources) -> None:
    sources.user_file("workflows: {w: {notify: {ops: {url: 'https://a.example'}}}}")
    with pytest.raises(SettingsError, match="notify"):
        sources.load()


def test_the_schema_for_editors_takes_what_is_read_and_no_secret() -> None:
    good = {"notify": {"ops": {"url": "https://a.example", "secret_env": "OPS", "events": ["proven"]}}}
    jsonschema.validate(good, shipped())
    jsonschema.validate({"notify": {"chat": {"url_env": "SLACK_URL", "format": "slack"}}}, shipped())
    for wrong in ({"secret": "x"}, {"secret_env": "hunter two"}, {"url_env": "A"}, {"url": "https://a@b.example"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"notify": {"ops": {"url": "https://a.example", **wrong}}}, shipped())
