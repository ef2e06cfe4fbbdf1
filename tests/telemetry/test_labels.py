from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from victor_autotune_plugin._telemetry.labels import error_type, stable_name


@pytest.mark.parametrize(
    ("name", "stable"),
    [
        ("scout", "scout"),
        ("executor_1f0c9a3e", "executor"),
        ("team-550e8400-e29b-41d4-a716-446655440000", "team"),
        ("run_550e8400-e29b-41d4-a716-446655440000", "run"),
        ("nightly 20240101", "nightly"),
        ("550e8400e29b41d4a716446655440000", "unnamed"),
        ("agent_2", "agent_2"),
        ("facade_cafe", "facade_cafe"),
        ("deadbeefcafe-review", "deadbeefcafe-review"),
        ("", "unnamed"),
    ],
)
def test_generated_endings_are_left_out(name, stable):
    assert stable_name(name) == stable


def test_a_name_that_is_all_generated_falls_back_to_the_role():
    assert stable_name("1f0c9a3e", "executor") == "executor"


@given(st.from_regex(r"[a-z]{1,12}(_[a-z]{1,12})?", fullmatch=True), st.uuids(), st.sampled_from("_-.:/ #"))
def test_names_do_not_depend_on_the_id_behind_them(base: str, generated: uuid.UUID, separator: str):
    assert stable_name(f"{base}{separator}{generated}", "x") == base
    assert stable_name(f"{base}{separator}{generated.hex}", "x") == base
    assert stable_name(f"{base}{separator}{generated.hex[:8]}", "x") == base


def test_names_are_cut_to_a_length_that_backends_take():
    assert len(stable_name("long name " * 100)) == 120


@pytest.mark.parametrize("name", ["ValueError", "httpx.ReadTimeout", "Outer.Inner", "test.<locals>.Odd", "_Hidden"])
def test_error_types_are_classes(name):
    assert error_type(name) == name


@pytest.mark.parametrize(
    "text", [None, "", "Model answered: my secret", "500", "a/b", "line\nline", "ValueError: secret", "x" * 121]
)
def test_whatever_is_not_a_class_becomes_other(text):
    assert error_type(text) == "_OTHER"
