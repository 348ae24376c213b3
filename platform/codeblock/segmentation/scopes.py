"""Which definitions reach a use: the state that the walk of `defuse` carries along.

A definition is known by its item alone, so a set of definitions is an integer with one bit per item. A *layer* maps a name
to `2 * set + open`: the definitions made since the layer began, and whether the name may also still have what it had
before. A use looks through the layers from the top until one is not open. Branches are layers of their own, joined by
`|`; loops need no fixpoint: a use that looks past the bottom of a loop's layer is noted there, and gets what the end
of the body still holds once the body has been walked.
"""

from __future__ import annotations

from collections.abc import Iterable

Layer = dict[bytes, int]

OPEN = 1


class Loop:
    """A loop being walked: the place of its layer, the uses exposed at its head, the states that leave its body."""

    __slots__ = ("bottom", "breaks", "continues", "exposed", "is_switch")

    def __init__(self, bottom: int) -> None:
        self.bottom = bottom
        self.exposed: Layer = {}  # name -> set of items
        self.breaks: list[Layer] = []
        self.continues: list[Layer] = []
        self.is_switch = False


class Scope:
    """A function or the module. A class body is no scope of its own: it runs in place, on a layer."""

    def __init__(self, parent: Scope | None) -> None:
        self.parent = parent
        self.layers: list[Layer] = [{}]
        self.dead: list[bool] = [False]  # whether the code that a layer belongs to has left it (return, break ...)
        self.loops: list[Loop] = []
        self.logs: list[Layer] = []  # every definition made inside the `try` statements around, as 2 * set
        self.defined: Layer = {}  # name -> set of all definitions, of names that are bound here
        self.declared: dict[bytes, bool] = {}  # names declared global (True) or nonlocal (False)
        self.open_uses: list[tuple[bytes, int]] = []  # free uses, unless the scope turns out to bind the name
        self.free: list[tuple[bytes, int]] = []  # uses in functions within, and of declared names: see all definitions
        self.exported: list[tuple[bytes, int]] = []  # definitions of nonlocal names made by functions within
        self.foreign: Layer = {}  # name -> set of definitions made by functions within
        self.blocks: list[dict[bytes, bytes]] = []  # nested blocks: name -> the key that it is known by
        self.is_class = self.is_isolated = False
        self.assigned_members: list[tuple[bytes, int]] = []  # `this.x = ..`
        self.used_members: list[tuple[bytes, int]] = []
        self.uses: list[tuple[bytes, int]] = []  # all uses; kept only where functions within may define names

    def push(self, layer: Layer, dead: bool = False) -> None:
        """Begin a layer."""
        self.layers.append(layer)
        self.dead.append(dead)

    def pop(self) -> tuple[Layer, bool]:
        """End the top layer; returns it, and whether its code was left."""
        return self.layers.pop(), self.dead.pop()

    def settle(self, alternatives: list[Layer]) -> None:
        """Go on after alternative layers; with none left, what follows is not reached."""
        if alternatives:
            compose(self.layers[-1], join(alternatives))
        else:
            self.dead[-1] = True

    def since(self, bottom: int) -> Layer:
        """What the layers from `bottom` up amount to."""
        state: Layer = {}
        for layer in self.layers[bottom:]:
            compose(state, layer)
        return state

    def end_log(self) -> Layer:
        """End the top log; its definitions also belong to the log around it."""
        log = self.logs.pop()
        if self.logs:
            outer = self.logs[-1]
            for name, value in log.items():
                outer[name] = outer.get(name, 0) | value
        return log


def compose(below: Layer, above: Layer) -> None:
    """Put what a later layer did on top of an earlier one."""
    for name, value in above.items():
        below[name] = (value & ~OPEN) | below.get(name, OPEN) if value & OPEN else value


def over(below: Layer, above: Layer) -> Layer:
    """`below` after `compose`."""
    compose(below, above)
    return below


def join(layers: Iterable[Layer]) -> Layer:
    """The union of alternative layers: a name that one of them leaves alone stays open."""
    alternatives = list(layers)
    joined: Layer = {}
    seen: dict[bytes, int] = {}
    for layer in alternatives:
        for name, value in layer.items():
            joined[name] = joined.get(name, 0) | value
            seen[name] = seen.get(name, 0) + 1
    for name, times in seen.items():
        if times < len(alternatives):
            joined[name] |= OPEN
    return joined


def opened(layer: Layer) -> Layer:
    """The same definitions, each of which may not have happened."""
    return {name: value | OPEN for name, value in layer.items()}


def members(bits: int) -> list[int]:
    """The items of a set."""
    found = []
    while bits:
        lowest = bits & -bits
        found.append(lowest.bit_length() - 1)
        bits ^= lowest
    return found
