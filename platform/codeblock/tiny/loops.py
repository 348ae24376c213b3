"""Family `loop`: a state that is carried along in a loop's variables."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from codeblock.tiny.family import Case, CodeLine, Spec, draw_numbers
from codeblock.tiny.primitives import imperative

_TOTALS = {
    "last": ("returns the final total", "returns the total at the end"),
    "all": ("returns the list of totals after each number", "returns all running totals as a list"),
}
_STREAKS = {
    "longest": ("returns the length of the longest run of results that {}", "max(runs, default=0)"),
    "number": ("returns how many runs of consecutive results that {} there are", "len(runs)"),
}


class Loops:
    """Shapes: running totals with a reset, runs of like results, a switch, and a stop."""

    name = "loop"
    shapes: ClassVar = {
        **{f"reset_{end}": ("number_test", "number_map") for end in _TOTALS},
        **{f"streak_{end}": ("number_map", "number_test") for end in _STREAKS},
        "switch": ("number_test", "number_test", "number_map", "number_end"),
        "until": ("number_test", "number_test", "number_map", "number_end"),
    }

    def clauses(self, spec: Spec, rng: random.Random) -> list[str]:
        intro = rng.choice(("goes through a list of numbers", "walks over a list of integers"))
        what, _, end = spec.shape.partition("_")
        first, second, *rest = spec.steps
        if what == "reset":
            reset = f"resets the total to 0 at each number that {first.say_one(rng)}"
            add = f"otherwise {second.say(rng, 'it')} and adds the result to the total"
            return [intro, reset, add, rng.choice(_TOTALS[end])]
        if what == "streak":
            return [intro, first.say(rng, "each number"), _STREAKS[end][0].format(second.say(rng))]
        if what == "switch":
            on = f"starts after a number that {first.say_one(rng)}"
            off = f"stops at a number that {second.say_one(rng)}"
            return [intro, on, off, rest[0].say(rng, "each number in between"), rest[1].say(rng)]
        stop = f"stops at the first number that {first.say_one(rng)}"
        kept = f"keeps the numbers before it that {second.say(rng)}"
        return [intro, stop, kept, rest[0].say(rng), rest[1].say(rng)]

    def write(self, spec: Spec, rng: random.Random) -> list[CodeLine]:
        parameter, x = rng.choice(("numbers", "values")), rng.choice(("x", "n", "value"))
        what, _, end = spec.shape.partition("_")
        body = getattr(self, f"_write_{what}")(spec, parameter, x, end, rng)
        return [CodeLine(f"def {spec.entry_point}({parameter}):"), *body]

    def _write_reset(self, spec: Spec, parameter: str, x: str, end: str, rng: random.Random) -> list[CodeLine]:
        test, step = spec.steps
        lines = [CodeLine("    total = 0")] + ([] if end == "last" else [CodeLine("    totals = []")])
        lines += [
            CodeLine(f"    for {x} in {parameter}:"),
            CodeLine(f"        if {test.write(x)}:", "reset the total here"),
            CodeLine("            total = 0"),
            CodeLine("        else:"),
            CodeLine(f"            total += {step.write(x)}", f"{imperative(step.say(rng, 'it'))} and add it"),
        ]
        if end == "last":
            return [*lines, CodeLine("    return total")]
        return [*lines, CodeLine("        totals.append(total)"), CodeLine("    return totals")]

    def _write_streak(self, spec: Spec, parameter: str, x: str, end: str, rng: random.Random) -> list[CodeLine]:
        step, test = spec.steps
        return [
            CodeLine("    runs = []"),
            CodeLine("    length = 0"),
            CodeLine(f"    for {x} in {parameter}:"),
            CodeLine(f"        {x} = {step.write(x)}", imperative(step.say(rng, "the number"))),
            CodeLine(f"        if {test.write(x)}:", f"the run goes on while it {test.say_one(rng)}"),
            CodeLine("            length += 1"),
            CodeLine("        elif length > 0:"),
            CodeLine("            runs.append(length)", "the run ends here"),
            CodeLine("            length = 0"),
            CodeLine("    if length > 0:"),
            CodeLine("        runs.append(length)"),
            CodeLine(f"    return {_STREAKS[end][1]}"),
        ]

    def _write_switch(self, spec: Spec, parameter: str, x: str, _end: str, rng: random.Random) -> list[CodeLine]:
        on, off, step, end = spec.steps
        flag, found = rng.choice(("active", "on", "collecting")), rng.choice(("found", "result"))
        return [
            CodeLine(f"    {found} = []"),
            CodeLine(f"    {flag} = False"),
            CodeLine(f"    for {x} in {parameter}:"),
            CodeLine(f"        if {flag} and {off.write(x)}:", f"stop when it {off.say_one(rng)}"),
            CodeLine(f"            {flag} = False"),
            CodeLine(f"        elif {flag}:"),
            CodeLine(f"            {found}.append({step.write(x)})", imperative(step.say(rng, "the number"))),
            CodeLine(f"        elif {on.write(x)}:", f"start when it {on.say_one(rng)}"),
            CodeLine(f"            {flag} = True"),
            CodeLine(f"    return {end.write(found)}", imperative(end.say(rng))),
        ]

    def _write_until(self, spec: Spec, parameter: str, x: str, _end: str, rng: random.Random) -> list[CodeLine]:
        stop, test, step, end = spec.steps
        found = rng.choice(("found", "result", "before"))
        return [
            CodeLine(f"    {found} = []"),
            CodeLine(f"    for {x} in {parameter}:"),
            CodeLine(f"        if {stop.write(x)}:", f"stop when it {stop.say_one(rng)}"),
            CodeLine("            break"),
            CodeLine(f"        if {test.write(x)}:", f"keep it if it {test.say_one(rng)}"),
            CodeLine(f"            {found}.append({step.write(x)})"),
            CodeLine(f"    return {end.write(found)}", imperative(end.say(rng))),
        ]

    def evaluate(self, spec: Spec, case: Case) -> Any:
        numbers: list[int] = case[0]
        what, _, end = spec.shape.partition("_")
        first, second, *rest = spec.steps
        if what == "reset":
            last_reset = [max((j for j in range(i + 1) if first(numbers[j])), default=-1) for i in range(len(numbers))]
            totals = [sum(second(x) for x in numbers[last_reset[i] + 1 : i + 1]) for i in range(len(numbers))]
            return totals if end == "all" else (totals or [0])[-1]
        if what == "streak":
            marks = "".join("1" if second(first(x)) else " " for x in numbers)
            runs = [len(run) for run in marks.split()]
            return max(runs, default=0) if end == "longest" else len(runs)
        if what == "switch":
            return rest[1]([rest[0](x) for x in _switched(numbers, first, second)])
        stop = next((i for i, x in enumerate(numbers) if first(x)), len(numbers))
        return rest[1]([rest[0](x) for x in numbers[:stop] if second(x)])

    def draw_case(self, spec: Spec, rng: random.Random) -> Case:
        return (draw_numbers(spec.steps, rng, high=10),)


def _switched(numbers: list[int], on: Any, off: Any) -> list[int]:
    """The numbers between a switch-on (exclusive) and the next switch-off (exclusive)."""
    starts = [i for i, x in enumerate(numbers) if on(x)]
    kept: list[int] = []
    position = 0
    while (start := next((i for i in starts if i >= position), None)) is not None:
        stop = next((i for i in range(start + 1, len(numbers)) if off(numbers[i])), len(numbers))
        kept += numbers[start + 1 : stop]
        position = stop + 1
    return kept


LOOP = Loops()
