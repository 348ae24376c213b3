"""Cached stages: a stage's directory is named by a hash of what decides its content.

Identity (config fields, fingerprints of inputs and models, a version per stage) is hashed; execution (paths, resources, batch
sizes) is not. A directory is valid only with its completion marker, which is written last and keeps the identity, so that a
plan can say which key made the difference. Of several processes that need a step one computes it (claims.py).
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeblock.core.console import say
from codeblock.core.errors import CodeBlockError
from codeblock.core.memory import process_peak_mb
from codeblock.core.storage.claims import discard, locked, open_work, publish, unfinished
from codeblock.core.storage.manifest import FORMAT, MARKER, check, check_tree, completed

Facts = dict[str, Any]


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
        text = json.dumps([FORMAT, self.stage, self.identity], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def directory(self) -> Path:
        """Where the output lies, or will."""
        return self.cache / f"{self.stage}-{self.key}"

    @property
    def facts(self) -> Facts | None:
        """What the finished step reported, or None where it has not finished, or has too few rows.

        Raises CodeBlockError where files of the finished step are missing, cut, or not its own.
        """
        marker = completed(self.directory)
        if marker is None:
            return None
        check(self.directory)
        return dict(marker["facts"]) if self._reached(marker) else None

    def _reached(self, marker: dict[str, Any]) -> bool:
        return self.rows is None or marker["facts"].get("kept", 0) >= self.rows()

    def check(self) -> None:
        """Hold the files of the finished step against their digests, where no reader of a part does."""
        check_tree(self.directory)

    def run(self, work: Callable[[Path], Facts], *, resume: bool = False) -> Facts:
        """The facts of this step, computed by `work(directory)` unless they are there; another process that does is waited for.

        `work` writes into a directory that becomes `self.directory` when it is done. `resume`: the unfinished output of a run
        that was cut off is there for `work` to go on from; otherwise it starts with an empty one.
        """
        while (facts := self.facts) is None:
            with self._claimed(resume=resume, wait=True) as output:
                if output is not None:
                    return self._finish(output, work)
        return facts

    @contextmanager
    def _claimed(self, *, resume: bool, wait: bool) -> Iterator[Path | None]:
        """A directory to work in while no other process does; None where one does (without `wait`) or has just finished."""
        with locked(self.directory, self._say_waiting if wait else None) as held:
            if held and self.facts is None:
                output = open_work(self.directory, resume=resume, grows=self.rows is not None)
                try:
                    yield output
                finally:
                    if not resume:
                        discard(output)  # nothing is left of it where it was published
                return
        yield None  # with no lock held, for the caller may go on to wait for another step

    def _say_waiting(self, holder: str) -> None:
        say(f"{self.label}: waiting for {holder}, which computes {self.directory.name}; its result will be taken")

    def _finish(self, output: Path, work: Callable[[Path], Facts]) -> Facts:
        started = time.perf_counter()
        facts = work(output)
        grown = (completed(self.directory) or {}).get("facts", {})
        facts["wall_seconds"] = round(time.perf_counter() - started + grown.get("wall_seconds", 0.0), 2)
        facts["driver_peak_mb"] = round(process_peak_mb(), 1)
        publish(output, self.directory, {"identity": self.identity, "facts": facts})
        return facts

    def why(self) -> str:
        """Why this step would run: what differs from the most recent result of its stage."""
        if completed(self.directory) is not None:
            return "more of the ranked pairs are needed"
        others = [path.parent for path in self.cache.glob(f"{self.stage}-*/{MARKER}") if _identity(path.parent) is not None]
        if not others:
            return "partly done" if unfinished(self.directory) else "no result yet"
        nearest = min(others, key=lambda path: (len(self._differences(path)), -path.stat().st_mtime))
        return "differs in " + ", ".join(self._differences(nearest)[:3])

    def _differences(self, other: Path) -> list[str]:
        before, now = _flat(_identity(other) or {}), _flat(self.identity)
        changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        return [f"{key} ({before.get(key)!s:.20} -> {now.get(key)!s:.20})" for key in changed]


def run_together(
    steps: Sequence[tuple[Step, Callable[[Path], Facts]]], fill: Callable[[list[tuple[Step, Path]]], None]
) -> None:
    """Run steps whose parts are made in one pass: `fill` gets those that lack any with directories, each ends by its work.

    Steps that other processes have in hand are waited for one at a time, while this process holds none: no two can wait for
    each other.
    """
    while pending := [each for each in steps if each[0].facts is None]:
        with ExitStack() as stack:
            claimed = [(*each, stack.enter_context(each[0]._claimed(resume=True, wait=False))) for each in pending]
            mine = [(step, work, output) for step, work, output in claimed if output is not None]
            if not mine:
                step, work = pending[0]
                output = stack.enter_context(step._claimed(resume=True, wait=True))
                mine = [] if output is None else [(step, work, output)]
            if mine:
                fill([(step, output) for step, _, output in mine])
            for step, work, output in mine:
                step._finish(output, work)


def check_storage(storage: Path) -> Path:
    """The cache directory of a storage that can be written. Raises CodeBlockError where it cannot."""
    cache = storage / "cache"
    probe = cache / f".probe-{secrets.token_hex(4)}"  # another process may look at the same time
    try:
        cache.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x" * 65536)
        probe.unlink()
    except OSError as error:
        raise CodeBlockError(f"storage={storage}: cannot be written ({error.strerror}); free it or name another") from error
    return cache.resolve()


def _identity(directory: Path) -> dict[str, Any] | None:
    """What decided a result; None where its marker is of another version, or damaged."""
    try:
        return (completed(directory) or {}).get("identity")
    except CodeBlockError:
        return None


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        key: leaf
        for name, inner in value.items()
        for key, leaf in _flat(json.loads(json.dumps(inner, default=str)), f"{prefix}.{name}" if prefix else name).items()
    }
