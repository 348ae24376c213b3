"""What references return on this machine, and how long they take; kept where a directory is given."""

from __future__ import annotations

import json
import os
import platform
import threading
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from codeblock.core.digests import text_digest
from codeblock.sandbox import codec
from codeblock.sandbox.launch import interpreter_paths, version_told
from codeblock.sandbox.oracles import Cases, Command, Limits, Script, UnitTest
from codeblock.sandbox.sandbox import Expected, Outcome, Rehearsal, Sandbox, Verdict

FORMAT = 1
"""Raised where the same reference would be kept as something else."""


class Expectations:
    """A directory with a file for each reference that passed: times, and outputs in one beside it.

    Of this machine and of what is installed on it: its times and outputs are its own.
    """

    def __init__(self, store: Path | None) -> None:
        self._temporary = None
        if store is None:
            self._temporary = TemporaryDirectory(prefix="codeblock-expected-")
            store = Path(self._temporary.name)
        self._directory = store
        self._directory.mkdir(parents=True, exist_ok=True)

    def of(self, sandbox: Sandbox, oracle: Cases, limits: Limits) -> tuple[Outcome, Expected | None]:
        """The expected outputs of a task, from the store or by running its reference. None where that fails."""
        outputs = self._directory / f"{self._key(sandbox, oracle)}.outputs"
        facts = outputs.with_suffix(".json")
        if facts.exists():
            expected = Expected(outputs, **json.loads(facts.read_text(encoding="utf-8")))
            return Outcome(Verdict.PASSED, expected.total_seconds, ""), expected
        part = _part_of(outputs)
        outcome, found = sandbox.collect(oracle, limits, part)
        if found is None:
            part.unlink(missing_ok=True)
            return outcome, None
        part.replace(outputs)
        _write(facts, {key: value for key, value in asdict(found).items() if key != "file"})  # last: the outputs are whole
        return outcome, replace(found, file=outputs)

    def of_tests(
        self, sandbox: Sandbox, code: str, oracle: Script | UnitTest | Command, limits: Limits
    ) -> tuple[Outcome, Rehearsal | None]:
        """How the reference of a task with tests ended, and what it did with a `UnitTest`; from the store or by running it."""
        machine = _machine(sandbox)
        if isinstance(oracle, Command):
            machine.append(version_told(oracle.version, sandbox.python))
        facts = self._directory / f"{_digest(machine, [code, asdict(oracle), asdict(limits)])}.json"
        if facts.exists():
            found = json.loads(facts.read_text(encoding="utf-8"))
            known = None if found["rehearsal"] is None else Rehearsal(**found["rehearsal"])
            return Outcome(Verdict.PASSED, found["seconds"], ""), known
        if isinstance(oracle, UnitTest):
            outcome, known = sandbox.rehearse(code, oracle, limits)
        else:
            outcome, known = sandbox.run(code, oracle, limits), None
        if outcome.verdict is Verdict.PASSED:
            _write(facts, {"seconds": outcome.seconds, "rehearsal": None if known is None else asdict(known)})
        return outcome, known

    def _key(self, sandbox: Sandbox, oracle: Cases) -> str:
        inputs = codec.dumps([list(arguments) for arguments in oracle.inputs], str)
        rule = [oracle.reference, oracle.calls, oracle.compare, oracle.atol, oracle.base]
        return _digest(_machine(sandbox), [inputs, rule])

    def __enter__(self) -> Expectations:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()


def _machine(sandbox: Sandbox) -> list[Any]:
    """This machine, the interpreter of the solutions, and when what is installed beside it was changed."""
    changed = [Path(path).stat().st_mtime_ns for path in interpreter_paths(sandbox.python) if path.endswith("-packages")]
    return [FORMAT, platform.node(), platform.machine(), sandbox.python, platform.python_version(), changed]


def _digest(machine: list[Any], content: list[Any]) -> str:
    return text_digest(json.dumps([machine, content]), 32)


def _write(file: Path, content: dict[str, Any]) -> None:
    """Write a file whole: others may read it meanwhile."""
    part = _part_of(file)
    part.write_text(json.dumps(content), encoding="utf-8")
    part.replace(file)


def _part_of(file: Path) -> Path:
    """Where a file is written before it is put in its place; two tasks may be the same, and run at the same time."""
    return file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
