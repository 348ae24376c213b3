"""Which versions of packages are installed here."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version


def installed(names: Iterable[str]) -> dict[str, str]:
    """Versions of packages by name, without their local part (`+cpu`); empty for one that is not installed."""
    return {name: _version(name) for name in sorted(set(names))}


@lru_cache(maxsize=64)
def _version(name: str) -> str:
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return ""
