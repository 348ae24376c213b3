"""Paths of a config as the cluster will see them: what lies on this machine alone is refused before anything is sent."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from codeblock.core.config import Config
from codeblock.core.errors import CodeBlockError

WRITES = {"export": "--out", "merge": "--out"}
"""Commands for a cluster that write elsewhere than into the storage, and the option that says where."""
_HOME = re.compile(r"""(?:[=:\[{,]|^\s*-)\s*["']?(~[\w.-]*/)""")
_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/")


def check_places(config: Config, included: Sequence[Path]) -> None:
    """Raise CodeBlockError for a relative storage, and for what lies on this machine and is not sent along: at a relative path,
    or the module of a strategy of the user's own.

    A job starts in a directory of its own, which the cluster removes. Absolute paths and URIs are taken as the cluster's;
    a name that is no path here is a hub's.
    """
    _check_functions(config, included)
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


def check_output(words: Sequence[str]) -> None:
    """Raise CodeBlockError for a command that writes into the job's own directory; `words` are the command and its options."""
    if words[0] not in WRITES:
        return
    option = WRITES[words[0]]
    given = [after for word, after in zip(words, [*words[1:], ""], strict=True) if word == option]
    given += [word.partition("=")[2] for word in words if word.startswith(f"{option}=")]
    if not given or not _absolute(given[-1]):
        asked = f"{option} {given[-1]}" if given else f"no {option}"
        raise CodeBlockError(
            f"--command {words[0]!r}: {asked}: a job's own directory is removed with it; name one that all nodes share, "
            f"--command '{words[0]} {option} /shared/{given[-1] if given else words[0]}'"
        )


def check_homes(config: Path, overrides: Sequence[str]) -> None:
    """Raise CodeBlockError for a path that begins with `~`: the job's user has another home, which the nodes do not share."""
    lines = [line for line in config.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    for said in (*overrides, *lines):
        if found := _HOME.search(said):
            raise CodeBlockError(f"{said.strip()}: {found[1]} is another directory on the cluster; write the whole path")


def _check_functions(config: Config, included: Sequence[Path]) -> None:
    for name, arm in config.arms.items():
        file = _module_here(arm.strategy.partition(":")[0]) if arm.strategy and ":" in arm.strategy else None
        if file is not None and not any(file.is_relative_to(path.resolve()) for path in included):
            local = file.relative_to(Path.cwd().resolve())
            raise CodeBlockError(
                f"arms.{name}.strategy={arm.strategy}: {local} lies on this machine; send it along with --include {local}"
            )


def _module_here(module: str) -> Path | None:
    """The file or the package below the current directory that a module comes from; None where it is installed, or not here."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or []) or [spec.origin or ""]
    found = Path(places[0]).resolve()
    return found if found.is_relative_to(Path.cwd().resolve()) and "site-packages" not in found.parts else None


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
