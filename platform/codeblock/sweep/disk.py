"""What is left of a trial: facts and verdicts of all, models of the best points alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from codeblock.core.storage.claims import discard, locked, remove_result, unfinished
from codeblock.sweep.record import Record

MODELS = "trained-"
"""How the names of fits begin."""


def remove(cache: Path, names: Iterable[str]) -> None:
    """Take finished steps out of the cache, whole, as far as no other process works on them."""
    for name in names:
        with locked(cache / name, None) as held:
            if held:
                remove_result(cache / name)


def remove_unfinished(cache: Path, names: Iterable[str]) -> None:
    """Remove what a trial that was stopped has left of its fit."""
    for name in names:
        with locked(cache / name, None) as held:
            for own in unfinished(cache / name) if held else ():
                discard(own)


def models_of(records: Iterable[Record]) -> set[str]:
    """Names of the fits that trials have made."""
    return {name for record in records for name in record.made if name.startswith(MODELS)}


def selections_of(records: Iterable[Record]) -> set[str]:
    """Names of the selections that they have made."""
    return {name for record in records for name in record.made if not name.startswith(MODELS)}
