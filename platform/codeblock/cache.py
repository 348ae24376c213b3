"""Cached stages: a stage's directory is named by a hash of what decides its content.

Identity (config fields, fingerprints of inputs and models, a version per stage) is hashed; execution (paths, resources, batch
sizes) is not. A directory is valid only with its completion marker, which is written last and keeps the identity, so that a
plan can say which key made the difference.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeblock.errors import CodeBlockError
from codeblock.memory import process_peak_mb
from codeblock.tables import MARKER, completed, mark_complete


@dataclass(frozen=True)
class Step:
    """One cached piece of work. `label` is for people, such as `train[codeblock]`."""

    stage: str
    label: str
    identity: dict[str, Any]
    cache: Path
    rows: Callable[[], float] | None = field(default=None, compare=False)
    """How many rows the output has to have (its fact `kept`), where it grows: not part of the identity, for more of the same
    rows does not change those that are there."""

    @property
    def key(self) -> str:
        """Hash of the identity."""
        text = json.dumps([self.stage, self.identity], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def directory(self) -> Path:
        """Where the output lies, or will."""
        return self.cache / f"{self.stage}-{self.key}"

    @property
    def facts(self) -> dict[str, Any] | None:
        """What the finished step reported, or None where it has not finished, or has too few rows."""
        marker = completed(self.directory)
        return None if marker is None or not self._reached(marker) else dict(marker["facts"])

    def _reached(self, marker: dict[str, Any]) -> bool:
        return self.rows is None or marker["facts"].get("kept", 0) >= self.rows()

    def run(self, work: Callable[[Path], dict[str, Any]], *, resume: bool = False) -> dict[str, Any]:
        """The facts of this step, computed by `work(directory)` unless they are there.

        `resume`: unfinished output of an earlier run stays for `work` to go on from; otherwise it is removed first.
        """
        facts = self.facts
        if facts is not None:
            return facts
        if not resume:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        facts = work(self.directory)
        grown = (completed(self.directory) or {}).get("facts", {})
        facts["wall_seconds"] = round(time.perf_counter() - started + grown.get("wall_seconds", 0.0), 2)
        facts["driver_peak_mb"] = round(process_peak_mb(), 1)
        mark_complete(self.directory, {"identity": self.identity, "facts": facts})
        return facts

    def why(self) -> str:
        """Why this step would run: what differs from the most recent result of its stage."""
        if completed(self.directory) is not None:
            return "more of the ranked pairs are needed"
        others = [path.parent for path in self.cache.glob(f"{self.stage}-*/{MARKER}")]
        if not others:
            return "partly done" if self.directory.exists() else "no result yet"
        nearest = min(others, key=lambda path: (len(self._differences(path)), -path.stat().st_mtime))
        return "differs in " + ", ".join(self._differences(nearest)[:3])

    def _differences(self, other: Path) -> list[str]:
        marker = completed(other) or {}
        before, now = _flat(marker.get("identity", {})), _flat(self.identity)
        changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        return [f"{key} ({before.get(key)!s:.20} -> {now.get(key)!s:.20})" for key in changed]


def check_storage(storage: Path) -> Path:
    """The cache directory of a storage that can be written. Raises CodeBlockError where it cannot."""
    cache = storage / "cache"
    probe = cache / ".probe"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x" * 65536)
        probe.unlink()
    except OSError as error:
        raise CodeBlockError(f"storage={storage}: cannot be written ({error.strerror}); free it or name another") from error
    return cache.resolve()


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        key: leaf
        for name, inner in value.items()
        for key, leaf in _flat(json.loads(json.dumps(inner, default=str)), f"{prefix}.{name}" if prefix else name).items()
    }
