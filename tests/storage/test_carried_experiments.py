"""What one store exports another takes in: experiments in the states of today, and in those of 0.1."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.experiment import Experiment, TeamState
from victor_autotune_plugin._model.policy import Policy
from victor_autotune_plugin._model.run import Observation
from victor_autotune_plugin.storage import Store, archive, importing
from victor_autotune_plugin.storage.archive import ArchiveError, ExperimentRecord
from victor_autotune_plugin.storage.former_states import REASON
from victor_autotune_testing.stored import SPEC, TUNED, change, experiment, finished, missing, observation, score

KEY = SPEC.key


@pytest.fixture
def other() -> Iterator[Store]:
    with Store.in_memory() as store:
        yield store


def lines(store: Store) -> list[bytes]:
    """What `export` writes of a store."""
    items: list[Any] = [*store.changes(), *store.finished_runs(), *store.scores()]
    items += [ExperimentRecord.stored(store, one) for one in store.experiments()[::-1]]
    return [archive.to_line(one).encode() for one in (archive.header(), *items, *store.teams())]


def take_in(store: Store, archived: list[bytes]) -> importing.Imported:
    return importing.write(store, archive.read(archived, "a.jsonl"))


def fill(store: Store) -> None:
    """A live plan that is the control of a test which asks for a probation, and runs of both that went missing."""
    live = experiment("live", status="reverifying", promoted_at=5.0, rounds=2, proven_by="old", reference=(missing(),))
    test = experiment("test", status="testing", control_id="live", promotion="probation", asks_for="probation")
    with store.transaction() as transaction:
        for one in (live, test):
            transaction.save_experiment(one)
        state = transaction.team(*KEY)
        of = {"plan": TUNED, "fingerprint": SPEC.fingerprint(), "spec": SPEC}
        transaction.save_team(evolve(state, experiment_id="test", live_id="live", **of))
        transaction.add_change(change())
        places = [("live", "watch", "treatment"), ("test", "test", "control"), ("live", "watch", "control")]
        for index, (experiment_id, phase, arm) in enumerate([*places, ("test", "test", "treatment")]):
            run = {"experiment_id": experiment_id, "phase": phase, "arm": arm, "stream": "canary:0", "index": index}
            transaction.finish_run(finished(f"r{index}", cancelled=index == 2, **run))
            transaction.number_runs(*KEY, 10)
        transaction.record_score(score("r0"))
        transaction.record_score(score("r0", "rubric", None, why="timeout", judge="d1", cost_usd=None, details={}))


def test_all_of_it_is_there_afterwards(store: Store, other: Store) -> None:
    fill(store)
    done = take_in(other, lines(store))
    assert (done.experiments, done.open_experiments, done.runs, done.changes, done.teams) == (2, 0, 4, 1, 1)
    assert other.experiments() == store.experiments()
    assert [evolve(one, id=None) for one in other.changes()] == [evolve(one, id=None) for one in store.changes()]
    assert other.live_observations("live") == store.live_observations("live")
    assert [one.missing for one in other.live_observations("live")] == ["", "", "cancelled"]
    assert other.observations("test", "test") == store.observations("test", "test")
    assert {run.run_id: run for run in other.runs()} == {run.run_id: run for run in store.runs()}
    (here,), (there,) = other.teams(), store.teams()
    assert evolve(here, revision=0) == evolve(there, revision=0)
    assert [one.id for one in other.experiments_that_await()] == ["test"]
    assert (done.scores, [*other.scores()]) == (2, [*store.scores()])


def test_a_score_that_is_there_stays_as_it_is(store: Store, other: Store) -> None:
    fill(store)
    with other.transaction() as transaction:
        transaction.record_score(score("r0", value=0.125, at=1.0))
    done = take_in(other, lines(store))
    assert (done.scores, done.duplicate_scores) == (1, 1)
    assert {one.name: one.value for one in other.scores_of("r0")} == {"rubric": None, "tests": 0.125}
    done = take_in(other, lines(store))
    assert (done.scores, done.duplicate_scores) == (0, 2)


def test_scores_are_exported_of_finished_runs_of_the_teams_asked_for_page_by_page(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("victor_autotune_plugin.storage.store._PAGE", 2)
    elsewhere = evolve(SPEC, team_id="other")
    with store.transaction() as transaction:
        for run_id, spec in (("a", SPEC), ("b", SPEC), ("c", elsewhere)):
            transaction.finish_run(finished(run_id, spec=spec))
            for name in ("x", "y", "z"):
                transaction.record_score(score(run_id, name))
        transaction.record_score(score("never ended"))
    found = [(one.run_id, one.name) for one in store.scores(*KEY)]
    assert found == [(run_id, name) for run_id in "ab" for name in "xyz"]
    assert len([*store.scores()]) == 9


def of_version_4(archived: list[bytes]) -> list[bytes]:
    """Write an archive as it was written before there were scores."""

    def earlier(data: Any) -> Any:
        if isinstance(data, list):
            return [earlier(one) for one in data]
        if not isinstance(data, dict):
            return data
        if "member_success_share" in data:
            share = data["member_success_share"]
            data = {**data, "score": float(data["success"]) if share is None else share}
        unknown = ("member_success_share", "trace_id", "gates", "decided_order")
        return {name: earlier(value) for name, value in data.items() if name not in unknown}

    header, *found = [earlier(json.loads(line)) for line in archived if not line.startswith(b'{"score"')]
    return [json.dumps(one).encode() for one in ({**header, "version": 4}, *found)]


def test_what_version_4_called_a_score_is_the_share_of_members_that_succeeded(store: Store, other: Store) -> None:
    fill(store)
    take_in(other, of_version_4(lines(store)))
    assert {run.run_id: run for run in other.runs()} == {run.run_id: run for run in store.runs()}
    assert {run.member_success_share for run in other.runs()} == {2 / 3}
    assert other.live_observations("live") == store.live_observations("live")
    (before,) = (one.reference for one in other.experiments() if one.reference)
    assert [(one.score, one.member_success_share) for one in before] == [(None, 0.0)]


@pytest.mark.parametrize(("version", "name"), [(4, "score"), (5, "member_success_share")])
def test_an_impossible_share_is_told_by_its_name_in_the_archive(version: int, name: str) -> None:
    header = json.dumps({"victor_autotune": "history", "version": version}).encode()
    run = finished().to_dict()
    share = {"score": run.pop("score"), "member_success_share": run.pop("member_success_share"), name: 7}
    line = json.dumps({"run": {**run, **(share if version == 5 else {name: 7})}})
    with pytest.raises(ArchiveError) as caught:
        list(archive.read([header, line.encode()], "a.jsonl"))
    assert (caught.value.where or "").endswith(f"a.jsonl:2:{name}")


@pytest.mark.parametrize(("changes", "field"), [({"value": 2.0}, "value"), ({"source": "guess"}, "source")])
def test_an_impossible_score_of_an_archive_is_told(changes: dict[str, Any], field: str) -> None:
    lines = [archive.to_line(archive.header()), json.dumps({"score": {**score().to_dict(), **changes}})]
    with pytest.raises(ArchiveError) as caught:
        list(archive.read([line.encode() for line in lines], "a.jsonl"))
    assert (caught.value.where or "").endswith(f"a.jsonl:2:{field}")


def test_a_live_plan_goes_on_behind_what_came_in(store: Store, other: Store) -> None:
    fill(store)
    take_in(other, lines(store))
    with other.transaction() as transaction:
        place = {"experiment_id": "test", "phase": "test", "arm": "control", "stream": "0", "index": 7}
        transaction.finish_run(finished("new", cancelled=False, **place))
        transaction.number_runs(*KEY, 10)
        seen = transaction.live_observations("live")
    assert [one.run_id for one in seen] == ["r0", "r1", "r2", "new"]
    assert [one.order for one in seen] == sorted({one.order for one in seen})


def test_what_is_open_stays_where_it_is_when_the_team_has_a_state_of_its_own(store: Store, other: Store) -> None:
    fill(store)
    with other.transaction() as transaction:
        transaction.save_team(TeamState(*KEY))
    done = take_in(other, lines(store))
    assert (done.experiments, done.open_experiments, done.duplicate_teams) == (0, 2, 1)
    assert other.experiments() == []


def test_a_state_whose_experiments_are_not_in_the_archive_names_none(store: Store, other: Store) -> None:
    fill(store)
    take_in(other, [line for line in lines(store) if not line.startswith(b'{"experiment"')])
    (state,) = other.teams()
    assert (state.plan, state.experiment_id, state.live_id) == (TUNED, None, None)


def of_version_3(
    *items: Experiment | TeamState, observations: list[tuple[str, Observation]] | None = None
) -> list[bytes]:
    """An archive as it was written before there were the states of today."""
    found = [json.dumps({"victor_autotune": "history", "version": 3}).encode()]
    for one in items:
        data = one.to_dict()
        if isinstance(one, TeamState):
            del data["live_id"]
            found.append(json.dumps({"team": {**data, "wants_control": False}}).encode())
            continue
        for name in ("promotion", "asks_for", "rounds", "proven_by", "control_id"):
            del data[name]
        del data["watch_policy"]["rule"]
        seen = [{"phase": phase, **run.to_dict()} for phase, run in observations or () if one.id == "proof"]
        for run in seen:
            for name in ("missing", "models", "order"):
                del run[name]
        found.append(json.dumps({"experiment": {**data, "observations": seen}}).encode())
    return found


def former(experiment_id: str, status: Any, **changes: Any) -> Experiment:
    return evolve(experiment(experiment_id, **changes), status=status)


def live_state(**changes: Any) -> TeamState:
    return TeamState(*KEY, version=3, plan=TUNED, fingerprint=SPEC.fingerprint(), **changes)


def test_a_watched_plan_of_before_comes_in_with_what_verifies_it(store: Store) -> None:
    seen = [
        ("test", observation("a", arm="control", index=0)),
        ("test", observation("b", index=1)),
        ("watch", observation("c", index=0)),
    ]
    proof = former("proof", "watched", promoted_at=5.0, verdict=None, reference=())
    done = take_in(store, of_version_3(proof, live_state(experiment_id="proof"), observations=seen))
    assert (done.experiments, done.teams, done.open_experiments) == (1, 1, 0)
    old, live = store.experiment("proof"), store.experiment("proof-live")
    assert old is not None
    assert live is not None
    assert (old.status, old.watch_policy.rule, live.status, live.watch_policy.rule) == (
        *("superseded", "reference"),
        *("proven", "sentinel"),
    )
    assert [one.run_id for one in live.reference] == ["a", "b", "c"]
    (state,) = store.teams()
    assert (state.live_id, state.experiment_id) == ("proof-live", None)
    assert [one.id for one in store.experiments() if one.takes_runs] == ["proof-live"]


def test_imported_again_it_changes_nothing(store: Store) -> None:
    archived = of_version_3(
        former("proof", "settled", promoted_at=5.0, ended_at=6.0), former("open", "running"), live_state()
    )
    first = take_in(store, archived)
    before = store.experiments(), store.changes(), store.teams()
    again = take_in(store, archived)
    assert (first.experiments, again.experiments, again.duplicate_experiments, again.duplicate_teams) == (2, 0, 2, 1)
    assert (store.experiments(), store.changes(), store.teams()) == before


def test_an_open_test_of_before_comes_in_aborted_and_a_draft_awaits_approval(store: Store) -> None:
    take_in(store, of_version_3(former("open", "running"), former("draft", "draft")))
    opened, draft = store.experiment("open"), store.experiment("draft")
    assert opened is not None
    assert draft is not None
    assert (opened.status, opened.watch_policy.rule) == ("aborted", "reference")
    assert (draft.status, draft.watch_policy.rule, draft.ended_at) == ("awaits_approval", "sentinel", None)
    assert [(one.experiment_id, one.action, one.reason, one.at) for one in store.changes()] == [
        ("open", "aborted", REASON, opened.ended_at)
    ]


@pytest.mark.parametrize("status", ["watched", "settled", "running"])
def test_todays_archives_know_no_former_states(status: Any) -> None:
    line = archive.to_line(ExperimentRecord(former("e1", status), {})).encode()
    with pytest.raises(ArchiveError, match="status: must be one of draft, awaits_approval, canary"):
        list(archive.read([archive.to_line(archive.header()).encode(), line], "a.jsonl"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"status": "unheard of"}, "status: must be one of"),
        ({"status": ["running"]}, "status: must be one of"),
        ({"policy": None}, "policy: must be an object"),
        ({"watch_policy": {"metric": "luck"}}, "watch_policy: metric must be one of"),
        ({"treatment": 5}, "treatment: must be an object"),
        ({"promoted_at": "then"}, "promoted_at: must be a finite number"),
        ({"was_open": "yes", "observations": 3}, "observations: must be a list"),
    ],
)
@pytest.mark.parametrize("status", ["watched", "running", "draft", "failed"])
def test_a_bad_line_of_before_is_told_with_its_field(status: Any, changes: dict[str, Any], told: str) -> None:
    header, line = of_version_3(former("proof", status, promoted_at=5.0))
    data = json.loads(line)["experiment"]
    with pytest.raises(ArchiveError) as caught:
        list(archive.read([header, json.dumps({"experiment": {**data, **changes}}).encode()], "a.jsonl"))
    assert told in f"{(caught.value.where or '').rpartition(':')[2]}: {caught.value.message}"


def test_a_forecast_goes_with_its_experiment_and_one_from_before_has_none(store: Store, other: Store) -> None:
    policies = Policy(forecast=0.357), Policy()
    with store.transaction() as transaction:
        for number, policy in enumerate(policies):
            transaction.save_experiment(experiment(f"test{number}", status="inconclusive", policy=policy))
    archived = lines(store)
    before = [line.replace(b',"forecast":null', b"") for line in archived]
    assert before != archived
    take_in(other, before)
    assert [one.policy for one in sorted(other.experiments(), key=lambda one: one.id)] == list(policies)
