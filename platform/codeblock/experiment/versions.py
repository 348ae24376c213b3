"""What besides the config decides a result: versions of the libraries that make it, and the source of a user's functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from codeblock.core.config import Config
from codeblock.core.digests import text_digest

TOKENIZING = ("tokenizers", "transformers", "jinja2")
GENERATING, ADAPTING = ("torch", "transformers"), ("peft",)
SITE = ("site-packages", "dist-packages")
PACKAGE = "codeblock"


def source_digest(module: str) -> str:
    """Hash of the source of a module and of all that it imports of the user's own.

    That is what lies in its package, or beside it where it is in none. Modules are found as Python finds them and are not run.
    """
    found = {name: text_digest(path.read_bytes()) for name, path in _own_modules(module).items()}
    return text_digest(repr(sorted(found.items())).encode()) if found else ""


def own_sources(config: Config) -> dict[str, Path]:
    """Files of the modules that a config's own strategies need and that are not installed, by the paths at which Python finds
    them (`mine/rules.py`)."""
    named = [arm.strategy for arm in config.arms.values()]
    axis = config.sweep.space.get("strategy")
    named += axis if isinstance(axis, list) else []
    modules = {str(strategy).partition(":")[0] for strategy in named if strategy and ":" in str(strategy)}
    return {
        f"{name.replace('.', '/')}{'/__init__.py' if path.name == '__init__.py' else '.py'}": path
        for module in modules
        for name, path in _own_modules(module).items()
        if not set(SITE) & set(path.parts) and name.partition(".")[0] != PACKAGE
    }


def _own_modules(module: str) -> dict[str, Path]:
    """The file of a module and those of all modules of the user's own that it imports, by name."""
    origin = _origin(module.partition(".")[0]) or _origin(module)  # the latter in a package without `__init__.py`
    found: dict[str, Path] = {}
    waiting = [] if origin is None else [module]
    while waiting:
        name = waiting.pop()
        path = None if name in found else _origin(name)
        if path is None or origin is None or (path != origin and not _is_own(path, origin.parent)):
            continue
        found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [name.rpartition(".")[0], *_imported(ast.parse(path.read_bytes()), package)]
    return found


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
