"""Configs with knobs changed, the original untouched."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from .config import BUDGET_KEYS, FORMATION_KEYS, is_count


def with_change(config: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with knobs changed, under the keys and in the forms that it has.

    Args:
        config: The config; it is not touched.
        change: Knobs in the form of `TeamPlan.to_dict`, and whatever else a strategy of somebody's own wants to set.
    """
    changed = copy.deepcopy(dict(config))
    for knob, value in copy.deepcopy(dict(change)).items():
        if knob == "formation":
            changed[_key(changed, FORMATION_KEYS)] = value
            changed.pop("sub_teams", None)
        elif knob == "sub_teams":
            changed[knob] = value
            for key in FORMATION_KEYS:
                changed.pop(key, None)
        elif knob == "tool_budget":
            changed[_key(changed, BUDGET_KEYS)] = value
        elif knob == "members":
            _keep_members(changed, [str(name) for name in value])
        elif knob == "member_budgets":
            _set_budgets(changed, value)
        elif knob == "member_count" and "member_count" not in changed and is_count(changed.get("members")):
            changed["members"] = value
        else:
            changed[knob] = value
    return changed


def _keep_members(config: dict[str, Any], ids: list[str]) -> None:
    given = config.get("members")
    by_id = {_id_of(item): item for item in given} if isinstance(given, list | tuple) else {}
    config["members"] = [by_id.get(name, name) for name in ids]
    if "member_count" in config:
        config["member_count"] = len(ids)


def _set_budgets(config: dict[str, Any], budgets: Mapping[str, int]) -> None:
    rest = dict(budgets)
    for item in config.get("members") or ():
        if isinstance(item, dict) and _id_of(item) in rest:
            item["tool_budget"] = rest.pop(_id_of(item))
    if rest:
        config["member_budgets"] = {**(config.get("member_budgets") or {}), **rest}


def _key(config: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return next((key for key in keys if key in config), keys[0])


def _id_of(item: Any) -> str:
    return str(item.get("id", item.get("name"))) if isinstance(item, Mapping) else str(item)
