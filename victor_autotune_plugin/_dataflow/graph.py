"""Who uses whose work as a graph: its connected groups, and one line that draws it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

from .._model.data_flow import Edge


def components(members: Sequence[str], edges: Iterable[Edge]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of members that edges connect, whatever their direction.

    Args:
        members: Ids of the members, in order.
        edges: The edges; those with other members are left out.

    Returns:
        Each group in the members' order, and the groups in the order of their first members.
    """
    group = {name: name for name in members}
    for one in edges:
        if one.source in group and one.target in group:
            kept, gone = group[one.source], group[one.target]
            group = {name: kept if of == gone else of for name, of in group.items()}
    found: dict[str, list[str]] = {}
    for name in members:
        found.setdefault(group[name], []).append(name)
    return tuple(tuple(names) for names in found.values())


def drawn(members: Sequence[str], edges: Iterable[Edge]) -> str:
    """Return a graph in one line.

    Members that others need come first: `extract → clean → report`, `a → (b, c) → d`. Where two need each other, it is
    `a ↔ b`. Members that nothing connects are named at the end: `a → b; c independent`.

    Args:
        members: Ids of the members, in order.
        edges: The edges; those with other members are left out.
    """
    known = set(members)
    pairs = {(one.source, one.target) for one in edges if {one.source, one.target} <= known}
    pairs -= {(name, name) for name in members}
    parts: list[str] = []
    alone: list[str] = []
    for group in components(members, (Edge(a, b, "declared") for a, b in pairs)):
        if len(group) == 1:
            alone += group
        else:
            parts.append(_group(group, {pair for pair in pairs if pair[0] in group}))
    if alone:
        parts.append(f"{', '.join(alone)} independent")
    return "; ".join(parts)


def _group(members: Sequence[str], pairs: Collection[tuple[str, str]]) -> str:
    """Draw members that are connected: in layers where each needs all of the one before it, else in chains."""
    reach = _reached(members, pairs)
    # Members that need each other are one node, named by the first of them.
    node_of = {name: next(other for other in members if other == name or _both(other, name, reach)) for name in members}
    rings = {node: [name for name in members if node_of[name] == node] for node in dict.fromkeys(node_of.values())}
    nodes = list(rings)
    if len(nodes) == 1:
        return " ↔ ".join(members)
    shown = {node: f"({' ↔ '.join(ring)})" if len(ring) > 1 else node for node, ring in rings.items()}
    ways = {(a, b) for a in nodes for b in nodes if a != b and (a, b) in reach}
    arrows = {(a, b) for a, b in ways if not any((a, via) in ways and (via, b) in ways for via in nodes)}

    level: dict[str, int] = {}
    for node in sorted(nodes, key=lambda one: sum((other, one) in ways for other in nodes)):
        level[node] = max((level[a] + 1 for a, b in arrows if b == node), default=0)
    layers = [[node for node in nodes if level[node] == height] for height in range(max(level.values()) + 1)]
    if arrows == {(a, b) for upper, lower in pairwise(layers) for a in upper for b in lower}:
        drawn_layers = [[shown[node] for node in layer] for layer in layers]
        return " → ".join(f"({', '.join(layer)})" if len(layer) > 1 else layer[0] for layer in drawn_layers)
    return ", ".join(" → ".join(shown[node] for node in chain) for chain in _chains(nodes, arrows))


def _both(one: str, other: str, reach: Collection[tuple[str, str]]) -> bool:
    return (one, other) in reach and (other, one) in reach


def _reached(members: Sequence[str], pairs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the pairs of members of which the second needs the first, directly or by others."""
    reach = set(pairs)
    for via in members:
        reach |= {(a, b) for a in members for b in members if (a, via) in reach and (via, b) in reach}
    return reach


def _chains(nodes: Sequence[str], arrows: Collection[tuple[str, str]]) -> list[list[str]]:
    """Part a graph without circles into chains that hold each of its arrows once."""
    left, found = set(arrows), []
    while left:
        entered = {b for _, b in left}
        chain = [next(node for node in nodes if node not in entered and any(a == node for a, _ in left))]
        while after := next((node for node in nodes if (chain[-1], node) in left), None):
            left.remove((chain[-1], after))
            chain.append(after)
        found.append(chain)
    return found
