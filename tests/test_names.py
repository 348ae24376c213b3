"""One name, one meaning: what a module defines by a name, no other module defines otherwise."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import codeblock

PACKAGE = Path(codeblock.__file__).parent


def types_of(module: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Names of classes, wherever they stand, and of aliases of types with what they stand for."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            yield node.name, None
    for node in module.body:
        match node:
            # A variable of types means something else in each module, as the variables of a formula do.
            case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar"))):
                pass
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if not name.isupper() and name.lstrip("_")[:1].isupper():
                yield name, ast.unparse(value)


def test_a_name_of_a_type_has_one_meaning_in_the_package():
    meanings: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(PACKAGE.rglob("*.py")):
        place = str(path.relative_to(PACKAGE))
        for name, alias in types_of(ast.parse(path.read_text())):
            meanings[name][alias or f"class in {place}"].append(place)
    twice = {
        name: sorted(place for places in found.values() for place in places)
        for name, found in meanings.items()
        if len(found) > 1 or any(len(places) > 1 for meaning, places in found.items() if meaning.startswith("class in "))
    }
    assert not twice
