"""What the references of `Cases` return on this machine, and how long they take; kept where a directory is given."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from codeblock.sandbox import codec
from codeblock.sandbox.oracles import Cases, Limits
from codeblock.sandbox.sandbox import Expected, Outcome, Sandbox, Verdict


class Expectations:
    """A directory with a pair of files for each reference: outputs, and times. Of this machine alone: times are its own."""

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
        part = outputs.with_suffix(f".{os.getpid()}.part")
        outcome, found = sandbox.collect(oracle, limits, part)
        if found is None:
            part.unlink(missing_ok=True)
            return outcome, None
        part.replace(outputs)
        part.write_text(json.dumps({key: value for key, value in asdict(found).items() if key != "file"}), encoding="utf-8")
        part.replace(facts)  # written last: it says that the outputs are whole
        return outcome, replace(found, file=outputs)

    def _key(self, sandbox: Sandbox, oracle: Cases) -> str:
        inputs = codec.dumps([list(arguments) for arguments in oracle.inputs], str)
        rule = [oracle.reference, oracle.calls, oracle.compare, oracle.atol, oracle.base]
        machine = [platform.node(), platform.machine(), sandbox.python, platform.python_version()]
        return hashlib.sha256(json.dumps([inputs, rule, machine]).encode()).hexdigest()[:32]

    def __enter__(self) -> Expectations:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()
