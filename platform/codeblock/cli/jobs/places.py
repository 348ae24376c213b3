"""Paths of a config as the cluster will see them: what lies on this machine alone is refused before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from codeblock.core.config import Config
from codeblock.core.errors import CodeBlockError

_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/")


def check_places(config: Config, included: Sequence[Path]) -> None:
    """Raise CodeBlockError for a relative storage, and for a relative path to something on this machine that is not sent along.

    A job starts in a directory of its own, which the cluster removes. Absolute paths and URIs are taken as the cluster's;
    a name that is no path here is a hub's.
    """
    storage = config.model_dump(mode="json")["storage"]
    if not _absolute(storage):
        raise CodeBlockError(
            f"storage={storage}: a job's own directory is removed with it; name one that all nodes share, "
            f"storage=/shared/{storage} or an object store"
        )
    for key, place in _places(config):
        local = place.partition("#")[0]
        if _absolute(local) or not _is_here(local):
            continue
        if not any(Path(local).resolve().is_relative_to(path.resolve()) for path in included):
            raise CodeBlockError(
                f"{key}={place}: lies on this machine; name it as the cluster's nodes see it (an absolute path or a URI), or "
                f"send it along with --include {local}"
            )


def _is_here(place: str) -> bool:
    if any(sign in place for sign in "*?["):
        return next(Path().glob(place), None) is not None
    return Path(place).exists()


def _absolute(place: str) -> bool:
    return Path(place).is_absolute() or _URI.match(place) is not None


def _places(config: Config) -> Iterator[tuple[str, str]]:
    pairs = config.pairs.path
    if isinstance(pairs, str):
        yield "pairs.path", pairs
    else:
        yield from ((f"pairs.path.{number}.path", source.path) for number, source in enumerate(pairs))
    yield "model.path", config.model.path
    for key, model in (("score.model", config.score.model), ("score.second_model", config.score.second_model)):
        if model is not None:
            yield key, model
    for name, place in config.evaluate.benchmarks.items():
        yield f"evaluate.benchmarks.{name}", place
    for name, place in config.evaluate.pythons.items():
        yield f"evaluate.pythons.{name}", place
