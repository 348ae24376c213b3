"""Cached stages: a stage's directory is named by a hash of what decides its content.

Identity (config fields, fingerprints of inputs and models, a version per stage, digests of what earlier steps have written) is
hashed; execution (paths, resources, batch sizes) is not. An earlier step counts by the content of its files, not by how it was
asked for, so a change that alters no row ends with the step that it touches. A directory is valid only with its completion
marker, which is written last and keeps the identity, so that a plan can say which key made the difference. Of several processes
that need a step one computes it (claims.py).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar, cast

from codeblock.core.console import say
from codeblock.core.digests import value_digest
from codeblock.core.errors import CodeBlockError
from codeblock.core.memory import process_peak_mb
from codeblock.core.storage import places, store
from codeblock.core.storage.claims import discard, locked, open_work, publish, unfinished
from codeblock.core.storage.manifest import FORMAT, MARKER, check, check_tree, completed, files_of

Facts = dict[str, Any]
R = TypeVar("R", bound=Mapping[str, Any])
"""The record that a stage's work returns (records.py)."""


@dataclass(frozen=True)
class Product:
    """What one step reads of another, as a part of its identity."""

    step: Step
    files: str = "part-*"
    """Which files are read, as a pattern of their paths below the step's directory."""

    @property
    def digest(self) -> str | None:
        """Of the names and contents of these files; None where they are not there yet.

        Of a step whose result grows it is the key: each row is what it is, however many there are.
        """
        if self.step.waits_for is not None:
            return None
        if self.step.grows:
            return self.step.key
        listed = files_of(self.step.directory)
        if listed is None:
            return None
        return value_digest([(name, entry.xxh3) for name, entry in sorted(listed.items()) if fnmatch(name, self.files)])

    def __str__(self) -> str:
        return self.digest or f"asked:{self.asked}"

    @property
    def asked(self) -> str:
        """How it was asked for, which is known before anything runs."""
        return f"{self.step.asked}/{self.files}"


@dataclass(frozen=True)
class Step:
    """One cached piece of work. `label` is for people, such as `train[codeblock]`."""

    stage: str
    label: str
    decided_by: dict[str, Any]
    """All that decides the content; where that is an earlier step, the Product that is read."""
    cache: Path
    rows: Callable[[], float] | None = field(default=None, compare=False)
    """How many rows the output has to have (its fact `kept`), where it grows: not part of the identity, for more of the same
    rows does not change those that are there."""
    covers: Callable[[Path], bool] | None = field(default=None, compare=False)
    """Whether the output has the rows that are needed, where they are told by more than their number."""
    after: Step | None = field(default=None, compare=False)
    """The step that tells which rows are needed, of an output that grows."""

    @property
    def grows(self) -> bool:
        """Whether later runs may add rows to the result."""
        return self.rows is not None or self.covers is not None

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the content, earlier steps by digests of what they wrote; by what was asked where it is not there."""
        told: dict[str, Any] = _told(self.decided_by, str)
        return told

    @property
    def waits_for(self) -> Step | None:
        """The earlier step that has to run before it is known what decides this one; None where it is known."""
        if "_key" in self.__dict__:
            return None
        for product in _products(self.decided_by):
            if (before := product.step.waits_for) is not None:
                return before
            if product.digest is None:
                return product.step
        self.__dict__["_key"] = value_digest([FORMAT, self.stage, self.identity])  # found once, it stays while the run goes on
        return None

    @property
    def depends_on(self) -> Step | None:
        """The earlier step that has to run before it is known whether this one has anything to do."""
        before = self.waits_for
        if before is None and self.after is not None:
            before = self.after.waits_for or (self.after if self.after.facts is None else None)
        return before

    @property
    def asked(self) -> str:
        """Hash of how the step is asked for, earlier steps included: equal for equal configs, before and after they run."""
        if "_asked" not in self.__dict__:
            self.__dict__["_asked"] = value_digest([FORMAT, self.stage, _told(self.decided_by, lambda product: product.asked)])
        found: str = self.__dict__["_asked"]
        return found

    @property
    def key(self) -> str:
        """Hash of the identity; that of how it is asked for, which names no result, where the identity is not known yet."""
        if self.waits_for is not None:
            return self.asked
        found: str = self.__dict__["_key"]
        return found

    @property
    def directory(self) -> Path:
        """Where the output lies, or will."""
        return self.cache / f"{self.stage}-{self.key}"

    @property
    def facts(self) -> Facts | None:
        """What the finished step reported, or None where it has not finished, or has too few rows.

        Raises CodeBlockError where files of the finished step are missing, cut, or not its own.
        """
        if self.waits_for is not None:
            return None
        marker = completed(self.directory)
        if marker is None:
            return None
        check(self.directory)
        return dict(marker["facts"]) if self._reached(marker) else None

    def _reached(self, marker: dict[str, Any]) -> bool:
        enough = self.rows is None or marker["facts"].get("kept", 0) >= self.rows()
        return enough and (self.covers is None or self.covers(self.directory))

    def check(self) -> None:
        """Hold the files of the finished step against their digests, where no reader of a part does."""
        check_tree(self.directory)

    def run(self, work: Callable[[Path], R], *, resume: bool = False) -> R:
        """The record of this step, computed by `work(directory)` unless it is there; another process that does is waited for.

        `work` writes into a directory that becomes `self.directory` when it is done. `resume`: the unfinished output of a run
        that was cut off is there for `work` to go on from; otherwise it starts with an empty one.
        """
        while (facts := self.facts) is None:
            with self._claimed(resume=resume, wait=True) as output:
                if output is not None:
                    return cast(R, self._finish(output, work))
        return cast(R, facts)

    @contextmanager
    def _claimed(self, *, resume: bool, wait: bool) -> Iterator[Path | None]:
        """A directory to work in while no other process does; None where one does (without `wait`) or has just finished."""
        with locked(self.directory, self._say_waiting if wait else None) as held:
            if held and self.facts is None:
                output = open_work(self.directory, resume=resume, grows=self.grows)
                try:
                    yield output
                finally:
                    if not resume:
                        discard(output)  # nothing is left of it where it was published
                return
        yield None  # with no lock held, for the caller may go on to wait for another step

    def _say_waiting(self, holder: str) -> None:
        say(f"{self.label}: waiting for {holder}, which computes {self.directory.name}; its result will be taken")

    def _finish(self, output: Path, work: Callable[[Path], Mapping[str, Any]]) -> Facts:
        started = time.perf_counter()
        facts = dict(work(output))
        grown = (completed(self.directory) or {}).get("facts", {})
        facts["wall_seconds"] = round(time.perf_counter() - started + grown.get("wall_seconds", 0.0), 2)
        facts["driver_peak_mb"] = round(process_peak_mb(), 1)
        ours = publish(output, self.directory, {"identity": self.identity, "facts": facts})
        return facts if ours else self.facts or facts

    def finished_but_for(self, keys: Collection[str]) -> list[Path]:
        """Finished results of the same stage that these keys alone may set apart from this one, the most recent first."""

        def others(identity: Mapping[str, Any]) -> str:
            return value_digest({key: value for key, value in identity.items() if key not in keys})

        found, wanted = reversed(store.by_age(self.cache, f"{self.stage}-*/{MARKER}")), others(self.identity)
        return [path.parent for path in found if others(_identity(path.parent) or {}) == wanted]

    def why(self) -> str:
        """Why this step would run: what differs from the most recent result of its stage."""
        before = self.depends_on
        there = completed(self.directory) if self.waits_for is None else None
        if before is not None:
            kept = there["facts"].get("kept") if there else None
            return f"depends on {before.label}" + (f"; {kept:,} pairs are there" if kept else "")
        if there is not None:
            return "more of the ranked pairs are needed"
        found = reversed(store.by_age(self.cache, f"{self.stage}-*/{MARKER}"))
        others = [path.parent for path in found if _identity(path.parent) is not None]
        if not others:
            return "partly done" if unfinished(self.directory) else "no result yet"
        nearest = min(others, key=lambda path: len(self._differences(path)))  # the most recent one of equals
        return "differs in " + ", ".join(self._differences(nearest)[:3])

    def _differences(self, other: Path) -> list[str]:
        before, now = _flat(_identity(other) or {}), _flat(self.identity)
        changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        return [f"{key} ({before.get(key)!s:.20} -> {now.get(key)!s:.20})" for key in changed]


def run_together(
    steps: Sequence[tuple[Step, Callable[[Path], Mapping[str, Any]]]], fill: Callable[[list[tuple[Step, Path]]], None]
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


def cache_of(storage: Path) -> Path:
    """The cache directory of a storage that is read alone, whether it is there or not."""
    return (storage / "cache").resolve()


def check_storage(storage: Path) -> Path:
    """The cache directory of a storage that can be written. Raises CodeBlockError where it cannot."""
    cache = storage / "cache"
    if places.is_remote(storage):
        store.check_writable(cache)
        store.make_parent(cache / "x")
        return cache.resolve()
    with _clear_errors(storage):
        cache.mkdir(parents=True, exist_ok=True)
        _probe(cache)
    return cache.resolve()


def probe_storage(storage: Path) -> None:
    """`check_storage` for who only looks: it makes no directory, for the path may be misspelt."""
    cache = (storage / "cache").absolute()
    if places.is_remote(storage):
        store.check_writable(cache)
        return
    with _clear_errors(storage):
        _probe(places.nearest(cache))


def _probe(directory: Path) -> None:
    """Write a file and remove it. Raises OSError."""
    probe = directory / f".probe-{secrets.token_hex(4)}"  # another process may look at the same time
    probe.write_bytes(b"x" * 65536)
    probe.unlink()


@contextmanager
def _clear_errors(storage: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CodeBlockError(f"storage={storage}: cannot be written ({error.strerror}); free it or name another") from error


def _identity(directory: Path) -> dict[str, Any] | None:
    """What decided a result; None where its marker is of another version, or damaged."""
    try:
        return (completed(directory) or {}).get("identity")
    except CodeBlockError:
        return None


def _told(value: Any, tell: Callable[[Product], str]) -> Any:
    """An identity with words in place of its products."""
    if isinstance(value, Product):
        return tell(value)
    if isinstance(value, dict):
        return {key: _told(inner, tell) for key, inner in value.items()}
    return [_told(inner, tell) for inner in value] if isinstance(value, list | tuple) else value


def _products(value: Any) -> Iterator[Product]:
    if isinstance(value, Product):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _products(inner)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        key: leaf
        for name, inner in value.items()
        for key, leaf in _flat(json.loads(json.dumps(inner, default=str)), f"{prefix}.{name}" if prefix else name).items()
    }
