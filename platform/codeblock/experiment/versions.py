"""What besides the config decides a result: versions of the libraries that make it, and the source of a user's functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from codeblock.core.digests import text_digest

TOKENIZING = ("tokenizers", "transformers", "jinja2")
GENERATING, ADAPTING = ("torch", "transformers"), ("peft",)
SITE = ("site-packages", "dist-packages")


def source_digest(module: str) -> str:
    """Hash of the source of a module and of all that it imports of the user's own.

    That is what lies in its package, or beside it where it is in none. Modules are found as Python finds them and are not run.
    """
    origin = _origin(module.partition(".")[0]) or _origin(module)  # the latter in a package without `__init__.py`
    if origin is None:
        return ""
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = None if name in found else _origin(name)
        if path is None or (path != origin and not _is_own(path, origin.parent)):
            continue
        text = path.read_bytes()
        found[name] = text_digest(text)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [name.rpartition(".")[0], *_imported(ast.parse(text), package)]
    return text_digest(repr(sorted(found.items())).encode())


def _is_own(path: Path, root: Path) -> bool:
    """Whether a file lies below a directory and is not installed there."""
    return path.is_relative_to(root) and root.name not in SITE and not set(SITE) & set(path.relative_to(root).parts)


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """Names of the modules that a source imports, and of what it imports from them, which may be modules too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _origin(name: str) -> Path | None:
    """The source file of a module; None where there is none."""
    try:
        spec = find_spec(name) if name else None
    except (ImportError, ValueError, AttributeError):  # something in it, or a package that is not one
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None
