"""Family `class`: a state that is carried along in an object."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from codeblock.tiny.family import Case, CodeLine, Spec, draw_numbers
from codeblock.tiny.primitives import imperative


class Classes:
    """Shapes: a total, a total with a penalty for the other numbers, a balance of two conditions, and a filtered list."""

    name = "class"
    shapes: ClassVar = {
        "total": ("number_test", "number_map", "number_map"),
        "penalty": ("number_test", "number_map", "number_map"),
        "balance": ("number_test", "number_test", "number_map"),
        "log": ("number_test", "number_map", "number_end"),
    }

    def clauses(self, spec: Spec, rng: random.Random) -> list[str]:
        first, second, third = spec.steps
        update, query = f"has a method `{spec.update}(x)`", f"a method `{spec.query}()`"
        if spec.shape == "balance":
            plus = f"{update} that adds 1 to the total if x {first.say_one(rng)}"
            change = [plus, f"subtracts 1 if x {second.say_one(rng)}"]
        else:
            target = "stores the result" if spec.shape == "log" else "adds the result to the total"
            change = [f"{update}: if x {first.say_one(rng)} it {second.say(rng, 'x')} and {target}"]
        if spec.shape == "penalty":
            change.append("otherwise subtracts 1 from the total")
        if spec.shape == "log":
            return ["starts with an empty list", *change, f"{query} that {third.say(rng).replace('them', 'the results')}"]
        return ["starts with a given total", *change, f"{query} that {third.say(rng, 'the total')} and returns it"]

    def write(self, spec: Spec, rng: random.Random) -> list[CodeLine]:
        first, _, third = spec.steps
        log = spec.shape == "log"
        state = "self.items" if log else "self.total"
        return [
            CodeLine(f"class {spec.entry_point}:"),
            CodeLine("    def __init__(self):" if log else "    def __init__(self, total):"),
            CodeLine("        self.items = []" if log else "        self.total = total"),
            CodeLine(f"    def {spec.update}(self, x):"),
            CodeLine(f"        if {first.write('x')}:", f"when x {first.say_one(rng)}"),
            *self._write_update(spec, rng),
            CodeLine(f"    def {spec.query}(self):"),
            CodeLine(f"        return {third.write(state)}", imperative(third.say(rng, "them" if log else "the total"))),
        ]

    def _write_update(self, spec: Spec, rng: random.Random) -> list[CodeLine]:
        second = spec.steps[1]
        if spec.shape == "balance":
            condition = CodeLine(f"        if {second.write('x')}:", f"when x {second.say_one(rng)}")
            return [CodeLine("            self.total += 1"), condition, CodeLine("            self.total -= 1")]
        comment = imperative(second.say(rng, "x"))
        if spec.shape == "log":
            return [CodeLine(f"            self.items.append({second.write('x')})", comment)]
        added = CodeLine(f"            self.total += {second.write('x')}", comment)
        return [added] if spec.shape == "total" else [added, CodeLine("        else:"), CodeLine("            self.total -= 1")]

    def evaluate(self, spec: Spec, case: Case) -> Any:
        """The query's answers, one after each list of updates."""
        given, *batches = case
        seen: list[int] = []
        answers = []
        for batch in batches:
            seen += batch
            answers.append(self._answer(spec, given, seen))
        return answers

    def _answer(self, spec: Spec, given: int, seen: list[int]) -> Any:
        first, second, third = spec.steps
        chosen = [x for x in seen if first(x)]
        if spec.shape == "balance":
            return third(given + len(chosen) - sum(1 for x in seen if second(x)))
        if spec.shape == "log":
            return third([second(x) for x in chosen])
        penalty = len(seen) - len(chosen) if spec.shape == "penalty" else 0
        return third(given + sum(second(x) for x in chosen) - penalty)

    def draw_case(self, spec: Spec, rng: random.Random) -> Case:
        return (rng.randint(-5, 20), draw_numbers(spec.steps, rng, 1, 5), draw_numbers(spec.steps, rng, 1, 5))


CLASS = Classes()
