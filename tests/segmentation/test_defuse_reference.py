"""The def-use graph against a naive reference: random programs, run on sets of environments until nothing changes.

The reference keeps every environment (name -> line of its definition) that some path can bring to each statement, so
it is exact; programs have one statement per line and each line is an item.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from codeblock.segmentation import segment

Env = frozenset[tuple[str, int]]
NAMES = ("a", "b", "c")


@dataclass
class Statement:
    """A line of a random program."""

    kind: str
    line: int = 0
    uses: tuple[str, ...] = ()
    defines: str | None = None
    parts: dict[str, list[Statement]] = field(default_factory=dict)
    part_lines: dict[str, int] = field(default_factory=dict)


class Program:
    """A random program, as statements and as source."""

    def __init__(self, seed: int, kinds: tuple[str, ...]) -> None:
        self.rng = random.Random(seed)
        self.kinds = kinds
        self.lines: list[str] = []
        self.body = self.block(0, 3, in_loop=False)
        self.source = "\n".join(["def f(a, b):", *self.lines]) + "\n"

    def emit(self, depth: int, text: str) -> int:
        self.lines.append("    " * (depth + 1) + text)
        return len(self.lines)

    def block(self, depth: int, size: int, in_loop: bool) -> list[Statement]:
        return [self.statement(depth, in_loop) for _ in range(self.rng.randint(1, size))]

    def statement(self, depth: int, in_loop: bool) -> Statement:
        rng = self.rng
        simple = ["assign", "use", "augment", "assign", "use", "delete"]
        jumps = ["return", *(("break", "continue") if in_loop else ())]
        kind = rng.choice(simple + [k for k in jumps if rng.random() < 0.5])
        if depth < 3 and rng.random() < 0.5:
            kind = rng.choice(self.kinds)
        used, other = rng.choice(NAMES), rng.choice(NAMES)
        s = Statement(kind)
        match kind:
            case "assign":
                s.uses, s.defines = (used,), other
                s.line = self.emit(depth, f"{other} = {used} + 1")
            case "augment":
                s.uses, s.defines = (used, other), other
                s.line = self.emit(depth, f"{other} += {used}")
            case "use" | "return":
                s.uses = (used,)
                s.line = self.emit(depth, f"return {used}" if kind == "return" else f"print({used})")
            case "delete":
                s.uses, s.defines = (used,), used
                s.line = self.emit(depth, f"del {used}")
            case "break" | "continue":
                s.line = self.emit(depth, kind)
            case "if":
                s.uses = (used,)
                s.line = self.emit(depth, f"if {used}:")
                s.parts["then"] = self.block(depth + 1, 2, in_loop)
                if rng.random() < 0.4:
                    s.part_lines["elif"] = self.emit(depth, f"elif {other}:")
                    s.parts["elif"] = self.block(depth + 1, 2, in_loop)
                    s.parts["elif_use"] = [Statement("use", s.part_lines["elif"], (other,))]
                if rng.random() < 0.5:
                    self.emit(depth, "else:")
                    s.parts["else"] = self.block(depth + 1, 2, in_loop)
            case "while" | "for":
                s.uses, s.defines = (used,), other if kind == "for" else None
                s.line = self.emit(depth, f"while {used}:" if kind == "while" else f"for {other} in {used}:")
                s.parts["body"] = self.block(depth + 1, 3, in_loop=True)
                if rng.random() < 0.3:
                    self.emit(depth, "else:")
                    s.parts["else"] = self.block(depth + 1, 2, in_loop)
            case "forever":
                s.line = self.emit(depth, "while True:")
                s.parts["body"] = self.block(depth + 1, 3, in_loop=True)
            case "try" | "finally":
                s.line = self.emit(depth, "try:")
                s.parts["body"] = self.block(depth + 1, 3, in_loop)
                if kind == "try" or rng.random() < 0.5:
                    self.emit(depth, "except E:")
                    s.parts["except"] = self.block(depth + 1, 2, in_loop)
                    if rng.random() < 0.4:
                        self.emit(depth, "else:")
                        s.parts["else"] = self.block(depth + 1, 2, in_loop)
                if kind == "finally":
                    self.emit(depth, "finally:")
                    s.parts["finally"] = self.block(depth + 1, 2, in_loop=False)
        return s


class Reference:
    """All environments that can reach each point; `outcomes` of a block are (how it ends, environment)."""

    def __init__(self) -> None:
        self.edges: set[tuple[int, int]] = set()
        self.observers: list[Callable[[set[Env]], None]] = []

    def step(self, s: Statement, envs: set[Env]) -> set[Env]:
        """Uses, then the definition."""
        self.observe(envs)
        result = set()
        for env in envs:
            here = dict(env)
            for name in s.uses:
                if name in here:
                    self.edges.add((here[name], s.line))
            if s.kind == "delete":
                here.pop(s.defines or "", None)
            elif s.defines is not None:
                here[s.defines] = s.line
            result.add(frozenset(here.items()))
        self.observe(result)
        return result

    def observe(self, envs: set[Env]) -> None:
        for observer in self.observers:
            observer(envs)

    def block(self, statements: list[Statement], envs: set[Env]) -> dict[str, set[Env]]:
        """Environments by the way in which control leaves: next, break, continue, return."""
        ends: dict[str, set[Env]] = {"next": set(envs), "break": set(), "continue": set(), "return": set()}
        for s in statements:
            if not ends["next"]:
                break
            outcome = self.statement(s, ends["next"])
            ends["next"] = outcome.pop("next")
            for how, found in outcome.items():
                ends[how] |= found
        return ends

    def statement(self, s: Statement, envs: set[Env]) -> dict[str, set[Env]]:
        match s.kind:
            case "return" | "break" | "continue":
                return {"next": set(), s.kind: self.step(s, envs)}
            case "if":
                return self.branch(s, self.step(s, envs))
            case "while" | "for" | "forever":
                return self.loop(s, envs)
            case "try" | "finally":
                return self.guarded(s, envs)
        return {"next": self.step(s, envs)}

    def branch(self, s: Statement, envs: set[Env]) -> dict[str, set[Env]]:
        ends = self.block(s.parts["then"], envs)
        rest = envs
        if "elif" in s.parts:
            rest = self.step(s.parts["elif_use"][0], rest)
            ends = merge(ends, self.block(s.parts["elif"], rest))
        return merge(ends, self.block(s.parts.get("else", []), rest))

    def loop(self, s: Statement, envs: set[Env]) -> dict[str, set[Env]]:
        use = Statement("use", s.line, s.uses)
        head = self.step(use, envs) if s.kind == "for" else set(envs)
        leaving: set[Env] = set()
        returns: set[Env] = set()
        while True:
            before = len(head)
            if s.kind == "while":
                self.step(use, head)
            inside = self.step(Statement("assign", s.line, (), s.defines), head) if s.kind == "for" else head
            ends = self.block(s.parts["body"], inside)
            leaving |= ends["break"]
            returns |= ends["return"]
            head |= ends["next"] | ends["continue"]
            if len(head) == before:
                break
        if s.kind == "forever":
            return {"next": leaving, "return": returns}
        ends = self.block(s.parts.get("else", []), head)
        ends["next"] |= leaving
        ends["return"] |= returns
        return ends

    def guarded(self, s: Statement, envs: set[Env]) -> dict[str, set[Env]]:
        anywhere: set[Env] = set(envs)
        everywhere: set[Env] = set(envs)
        self.observers += [everywhere.update, anywhere.update]
        ends = self.block(s.parts["body"], envs)
        self.observers.pop()
        if "else" in s.parts:
            after = self.block(s.parts["else"], ends.pop("next"))
            ends = merge({"next": set(), **ends}, after)
        if "except" in s.parts:
            ends = merge(ends, self.block(s.parts["except"], anywhere))
        self.observers.pop()
        if "finally" in s.parts:
            self.block(s.parts["finally"], everywhere)  # on its way out with an exception
            before, ends = ends, {}
            for how, leaving in before.items():
                after = self.block(s.parts["finally"], leaving)
                ends = merge(merge(ends, {how: after.pop("next")}), after)
        return ends


def merge(a: dict[str, set[Env]], b: dict[str, set[Env]]) -> dict[str, set[Env]]:
    return {how: a.get(how, set()) | b.get(how, set()) for how in ("next", "break", "continue", "return")}


def edges_found(source: str) -> set[tuple[int, int]]:
    """The edges by line, the function's header being line 0."""
    result = segment(source, "python", max_item_tokens=1)
    lines = [source[: item.spans[0][0]].count("\n") for item in result.items]
    return {(lines[a], lines[b]) for a, b in result.edges}


def edges_expected(program: Program) -> set[tuple[int, int]]:
    reference = Reference()
    reference.block(program.body, {frozenset({("a", 0), ("b", 0)})})
    return {(a, b) for a, b in reference.edges if a != b}


@pytest.mark.parametrize("seed", range(0, 1200, 100))
def test_equals_the_reference_on_branches_loops_and_jumps(seed: int) -> None:
    for s in range(seed, seed + 100):
        program = Program(s, ("if", "if", "while", "for", "forever"))
        assert edges_found(program.source) == edges_expected(program), f"seed {s}\n{program.source}"


@pytest.mark.parametrize("seed", range(0, 1000, 100))
def test_misses_no_edge_through_try_and_adds_few(seed: int) -> None:
    extra = total = 0
    for s in range(seed, seed + 100):
        program = Program(s, ("try", "finally", "if", "while"))
        found, expected = edges_found(program.source), edges_expected(program)
        assert found >= expected, f"seed {s}: {expected - found}\n{program.source}"
        extra += len(found - expected)
        total += len(expected)
    assert extra <= 0.05 * total
