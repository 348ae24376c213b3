"""Family `dict`: dictionaries that are filtered and mapped, counted or grouped."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from codeblock.tiny.family import WORDS, Case, CodeLine, Spec, draw_numbers, draw_words
from codeblock.tiny.primitives import imperative

_GROUPS = {"words": ("word_test", "word_key"), "numbers": ("number_test", "number_key")}


class Mappings:
    """Shapes: `values` and `keys` filter a dictionary; `count_*` and `group_*` build one from a list."""

    name = "dict"
    shapes: ClassVar = {
        "values": ("number_test", "number_map", "items_end"),
        "keys": ("word_test", "number_map", "items_end"),
        "count_words": ("word_test", "word_key"),
        "count_numbers": ("number_test", "number_key"),
        "group_words": ("word_test", "word_map", "word_key"),
        "group_numbers": ("number_test", "number_map", "number_key"),
    }

    def clauses(self, spec: Spec, rng: random.Random) -> list[str]:
        what, _, noun = spec.shape.partition("_")
        if not noun:
            return [
                rng.choice(("takes a dictionary from names to numbers", "receives a dictionary with integer values")),
                f"keeps the entries whose {spec.shape} {spec.steps[0].say(rng)}",
                spec.steps[1].say(rng, "the values"),
                spec.steps[2].say(rng),
            ]
        said = [f"takes a list of {noun}", f"{rng.choice(('keeps', 'selects'))} those that {spec.steps[0].say(rng)}"]
        key = spec.steps[-1].say(rng)
        if what == "count":
            return [*said, rng.choice((f"counts them by {key}", f"returns how many there are for each {key}"))]
        return [*said, f"groups them by {key} into lists", f"{spec.steps[1].say(rng)} in the lists"]

    def write(self, spec: Spec, rng: random.Random) -> list[CodeLine]:
        if spec.shape in ("values", "keys"):
            return self._write_entries(spec, rng)
        return self._write_build(spec, rng)

    def _write_entries(self, spec: Spec, rng: random.Random) -> list[CodeLine]:
        parameter = rng.choice(("scores", "data", "table"))
        k, v = rng.choice((("key", "value"), ("k", "v")))
        result = rng.choice(("result", "kept"))
        first, second, end = spec.steps
        test = first.write(v if spec.shape == "values" else k)
        new = second.write(v)
        close = CodeLine(f"    return {end.write(result)}", imperative(end.say(rng)))
        _, kept, mapped, _ = self.clauses(spec, rng)
        header = CodeLine(f"def {spec.entry_point}({parameter}):")
        if rng.random() < 0.5:
            built = f"    {result} = {{{k}: {new} for {k}, {v} in {parameter}.items() if {test}}}"
            return [header, CodeLine(built, imperative(kept)), close]
        return [
            header,
            CodeLine(f"    {result} = {{}}"),
            CodeLine(f"    for {k}, {v} in {parameter}.items():"),
            CodeLine(f"        if {test}:", imperative(kept)),
            CodeLine(f"            {result}[{k}] = {new}", imperative(mapped)),
            close,
        ]

    def _write_build(self, spec: Spec, rng: random.Random) -> list[CodeLine]:
        what, _, noun = spec.shape.partition("_")
        parameter = rng.choice((noun, "items"))
        x = rng.choice(("w", "word") if noun == "words" else ("n", "x"))
        result = rng.choice(("counts" if what == "count" else "groups", "result"))
        test, key = spec.steps[0], spec.steps[-1]
        lines = [
            CodeLine(f"def {spec.entry_point}({parameter}):"),
            CodeLine(f"    {result} = {{}}"),
            CodeLine(f"    for {x} in {parameter}:"),
        ]
        lines.append(CodeLine(f"        if {test.write(x)}:", f"only what {test.say_one(rng)}"))
        lines.append(CodeLine(f"            key = {key.write(x)}", f"the key is the {key.say(rng)}"))
        if what == "group":
            lines.append(CodeLine(f"            {result}.setdefault(key, []).append({spec.steps[1].write(x)})"))
        else:
            lines.append(CodeLine(f"            {result}[key] = {result}.get(key, 0) + 1"))
        return [*lines, CodeLine(f"    return {result}")]

    def evaluate(self, spec: Spec, case: Case) -> Any:
        first, last = spec.steps[0], spec.steps[-1]
        if spec.shape in ("values", "keys"):
            kept = [(k, v) for k, v in case[0].items() if first(v if spec.shape == "values" else k)]
            return last({k: spec.steps[1](v) for k, v in kept})
        chosen = [x for x in case[0] if first(x)]
        keys = list(dict.fromkeys(last(x) for x in chosen))
        members = {key: [x for x in chosen if last(x) == key] for key in keys}
        if spec.shape.startswith("count"):
            return {key: len(group) for key, group in members.items()}
        return {key: [spec.steps[1](x) for x in group] for key, group in members.items()}

    def draw_case(self, spec: Spec, rng: random.Random) -> Case:
        if spec.shape.endswith("_words"):
            return (draw_words(rng),)
        numbers = draw_numbers(spec.steps, rng)
        if spec.shape.endswith("_numbers"):
            return (numbers,)
        return (dict(zip(rng.sample(WORDS, len(numbers)), numbers, strict=True)),)


DICT = Mappings()
