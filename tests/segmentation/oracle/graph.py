"""The flow graph of the oracle: events, the scopes of `symtable`, reaching definitions by fixpoint."""

from __future__ import annotations

import ast
import symtable
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

Variable = tuple[int, str]  # the scope that binds it, its name


@dataclass
class Unit:
    """Code that runs in one go: a function's body, a lambda's, the module. Its events are the nodes of a flow graph."""

    kinds: list[str] = field(default_factory=list)  # use, define, forget, unbound, join
    variables: list[Variable] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    before: list[set[int]] = field(default_factory=list)
    fallbacks: dict[int, int] = field(default_factory=dict)  # use that counts only where the other one may be unbound
    frontier: set[int] = field(default_factory=set)  # the events after which control is here; empty: nowhere
    around: list[Around] = field(default_factory=list)

    def event(self, kind: str, variable: Variable = (0, ""), place: int = -1) -> int:
        self.kinds.append(kind)
        self.variables.append(variable)
        self.places.append(place)
        self.before.append(set(self.frontier))
        self.frontier = {len(self.kinds) - 1}
        self.throw(self.before[-1] | self.frontier)
        return len(self.kinds) - 1

    def throw(self, events: set[int]) -> None:
        """An exception may leave after these events."""
        for context in reversed(self.around):
            if context.kind != "loop":
                context.thrown |= events
                return


@dataclass
class Around:
    """A loop, the body of a `try` with handlers, or what is under a `finally`."""

    kind: str
    cleanup: list[ast.stmt] = field(default_factory=list)
    thrown: set[int] = field(default_factory=set)
    breaks: set[int] = field(default_factory=set)
    continues: set[int] = field(default_factory=set)


@dataclass
class Place:
    """A scope of `symtable` and where it stands."""

    table: symtable.SymbolTable
    parent: Place | None
    unit: Unit
    number: int
    mangling: str
    children: dict[tuple[str, int], list[symtable.SymbolTable]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for child in self.table.get_children():
            self.children[child.get_name(), child.get_lineno()].append(child)


def reaching(unit: Unit, foreign: dict[Variable, set[int]]) -> Iterator[tuple[int, int]]:
    """Pairs of places (definition, use); `foreign` are the definitions that inner functions make."""
    makes, masks = [0] * len(unit.kinds), defaultdict(int)
    for event, kind in enumerate(unit.kinds):
        if kind in ("define", "unbound"):
            makes[event] = 1 << event
            masks[unit.variables[event]] |= 1 << event
    out = [0] * len(unit.kinds)
    changed = True
    while changed:
        changed = False
        for event, kind in enumerate(unit.kinds):
            state = 0
            for earlier in unit.before[event]:
                state |= out[earlier]
            if kind not in ("use", "join"):
                state = state & ~masks[unit.variables[event]] | makes[event]
            changed = changed or state != out[event]
            out[event] = state
    ignored: set[int] = set()
    for event, kind in enumerate(unit.kinds):
        variable = unit.variables[event]
        if kind != "use" or event in ignored:
            continue
        reached = [d for d in range(len(unit.kinds)) if (out[event] & masks[variable]) >> d & 1] if out[event] else []
        if event in unit.fallbacks and not any(unit.kinds[d] == "unbound" for d in reached):
            ignored.add(unit.fallbacks[event])
        for definition in reached:
            if unit.kinds[definition] == "define":
                yield unit.places[definition], unit.places[event]
        for place in foreign.get(variable, ()):
            yield place, unit.places[event]
