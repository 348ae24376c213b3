"""One name, one meaning: what a module defines by a name, no other module defines otherwise."""

import ast
import re
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


def texts_of(module: ast.Module) -> Iterator[str]:
    """Texts that may be shown: all but those that stand alone, which are documentation."""
    alone = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


def test_no_message_of_the_sandbox_names_its_inner_parts():
    for path in sorted((PACKAGE / "sandbox").glob("*.py")):
        assert not [text for text in texts_of(ast.parse(path.read_text())) if re.search(r"\bhelpers?\b", text)], path.name
