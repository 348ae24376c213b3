"""The grader's side: run one solution at a time against its tests, and say how it ended.

A `Sandbox` owns two helper processes. The solver (`server.py`) stands behind the walls (`walls.py`) and forks a child for each
solution. The checker (`check.py`) is trusted: it runs the tests, or compares outputs, and calls the solution over a socket. The
solution's process never holds tests, expected values or the verdict, so nothing that it patches, reads or leaves early can pass
a task; but for `unittest` classes (`unit.py` says what holds there).

What is not covered: faults of the kernel and of Python itself; timing and other side channels; and a solution that recognises
a task by its inputs.
"""

from __future__ import annotations

import ast
import select
import shutil
import socket
import sys
import time
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from codeblock.errors import CodeBlockError
from codeblock.sandbox import launch, wire
from codeblock.sandbox.helper import Helper, HelperDiedError, arguments
from codeblock.sandbox.oracles import Cases, Limits, Oracle, Script, UnitTest
from codeblock.sandbox.text import MAX_REPORT, clean

HARD_FACTOR: Final = 10
GRACE_SECONDS: Final = 60.0
LOST_SECONDS: Final = 1.0
LATE_SECONDS: Final = 10.0
REFERENCE_PATIENCE: Final = 10
"""A reference may take this many times the official limit: the machine may be slow."""
STOP: Final = b"s"
VISIBLE: Final = (Path(__file__).parent, Path(__file__).parents[1] / "__init__.py")
"""What the solver needs to start, besides Python."""


class Verdict(StrEnum):
    """How a solution ended."""

    PASSED = "passed"
    WRONG_ANSWER = "wrong_answer"  # a test failed
    EXCEPTION = "exception"  # any other error, or an exit before the tests ended
    SYNTAX_ERROR = "syntax_error"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    KILLED = "killed"  # by a signal: segmentation fault, abort, the kernel
    HARNESS_ERROR = "harness_error"  # the grader's fault, never the solution's


@dataclass(frozen=True)
class Outcome:
    """How one solution ended."""

    verdict: Verdict
    seconds: float
    """Seconds that the solution took: wall clock, less those that it waited for a core."""
    error: str
    """Short text of the error; empty where it passed."""
    base: Verdict | None = None
    """The verdict on the base inputs of `Cases`."""

    def __post_init__(self) -> None:
        # Nothing that a solution wrote goes further as it is: it may not be text that can be stored or shown.
        object.__setattr__(self, "error", clean(self.error, MAX_REPORT))


@dataclass(frozen=True)
class Expected:
    """What the reference returned for the inputs of `Cases`."""

    file: Path
    """The outputs as `wire` writes them, one a line."""
    seconds: list[float]
    """Seconds that it took for each input."""
    tolerances: list[float]
    """Absolute tolerance of each output."""
    total_seconds: float
    """Seconds of the whole run, the passing of values included."""


class Sandbox:
    """Runs solutions one after the other. Not to be shared by threads. Close it, or use it in a `with` block.

    `python` is the interpreter of the solutions (default: this one). Raises CodeBlockError where the helpers cannot start.
    """

    def __init__(self, python: str | None = None) -> None:
        self.python = absolute_interpreter(python or sys.executable)
        self._bwrap = launch.bubblewrap_works(self.python)
        self._start()

    def run(self, code: str, oracle: Oracle, limits: Limits, expected: Expected | None = None) -> Outcome:
        """Hold a whole solution against an oracle; `Cases` need what `collect` gave for its reference."""
        if isinstance(oracle, UnitTest):
            return self._guarded(lambda: self._unit(code, oracle, limits))
        request: dict[str, Any] = {}
        if isinstance(oracle, Cases):
            assert expected is not None
            request["limits"] = per_input(limits, expected)
            limits = replace(limits, timeout_seconds=in_all(limits, expected))
        return self._guarded(lambda: self._checked(code, oracle, limits, request, expected)[0])

    def collect(self, oracle: Cases, limits: Limits, file: Path) -> tuple[Outcome, Expected | None]:
        """Run the reference of `Cases` on all inputs; its outputs go to `file`."""
        total = replace(limits, timeout_seconds=REFERENCE_PATIENCE * limits.total_seconds)
        request = {"collect": str(file.absolute()), "limits": [total.timeout_seconds] * len(oracle.inputs)}
        found: list[Expected] = []

        def work() -> Outcome:
            outcome, answer = self._checked(oracle.reference, oracle, total, request, None)
            if outcome.verdict is Verdict.PASSED:
                found.append(Expected(file.absolute(), answer["seconds"], answer["tolerances"], outcome.seconds))
            return outcome

        outcome = self._guarded(work)
        return outcome, found[0] if found else None

    def close(self) -> None:
        """End the helpers."""
        self._solver.close()
        self._checker.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _start(self) -> None:
        try:
            command = launch.command(self.python, arguments("server"), VISIBLE, self._bwrap)
            self._solver = Helper(
                self.python, command, {"inside_bwrap": self._bwrap, "visible": [str(path) for path in VISIBLE]}
            )
            self._start_checker()
            self.missing = self._solver.wait()
            self._checker.wait()
        except (HelperDiedError, OSError) as error:
            raise CodeBlockError(f"grading: the sandbox does not start ({error}); is {self.python} whole?") from error

    def _start_checker(self) -> None:
        self._known: tuple[Oracle, Expected | None] | None = None
        self._checker = Helper(sys.executable, [sys.executable, *arguments("check")], None)

    def _checked(
        self, code: str, oracle: Script | Cases, limits: Limits, request: dict[str, Any], expected: Expected | None
    ) -> tuple[Outcome, dict[str, Any]]:
        """A solution in one process, its tests in another; the outcome, and the checker's answer."""
        seconds = limits.timeout_seconds
        ours, theirs = socket.socketpair()
        with ours, theirs:
            solution = {"mode": "serve", "code": code, "timeout_seconds": seconds, "memory_mb": limits.memory_mb}
            self._solver.send(solution, theirs)
            told = {**request, "seconds": seconds}
            if self._known is None or self._known[0] is not oracle or self._known[1] is not expected:
                told["oracle"] = as_request(oracle, expected)
            self._checker.send(told, ours)
            self._known = (oracle, expected)
        deadline = time.monotonic() + HARD_FACTOR * seconds + GRACE_SECONDS
        first = select.select([self._checker, self._solver], [], [], HARD_FACTOR * seconds + GRACE_SECONDS)[0]
        if self._checker not in first:
            self._solver.signal(STOP)  # it has ended, or does not answer in time
            report = self._solver.receive(deadline)
            return judge(answer := self._late_answer(), report), answer
        answer = self._checker.receive(deadline)
        if answer["verdict"] == "lost":  # the report of how the solution ended is on its way, unless it hides
            select.select([self._solver], [], [], LOST_SECONDS)
        self._solver.signal(STOP)
        report = self._solver.receive(deadline)
        if answer.get("worn"):
            self._renew_checker()
        return judge(answer, report), answer

    def _late_answer(self) -> dict[str, Any]:
        """The checker's answer after the solution has ended; "lost" where it is still busy with what the solution returned."""
        try:
            return self._checker.receive(time.monotonic() + LATE_SECONDS)
        except HelperDiedError:
            self._renew_checker()
            return {"verdict": "lost", "error": ""}

    def _renew_checker(self) -> None:
        self._checker.kill()
        self._start_checker()
        self._checker.wait()

    def _unit(self, code: str, oracle: UnitTest, limits: Limits) -> Outcome:
        """Solution and tests in one process."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                request = {"mode": "unittest", "code": code, "test": oracle.test, "name": oracle.name}
                settings = {"timeout_seconds": limits.timeout_seconds, "memory_mb": limits.memory_mb}
                self._solver.send({**request, **settings}, theirs)
            report = self._solver.receive(time.monotonic() + HARD_FACTOR * limits.timeout_seconds + GRACE_SECONDS)
            self._solver.signal(STOP)
            ours.settimeout(1.0)
            try:
                message = wire.loads(wire.Channel(ours).receive(), str)
            except (wire.ClosedError, ValueError, RecursionError):
                message = ["lost"]
        return judge(answer_of_unit(message, count_tests(oracle)), report)

    def _guarded(self, work: Any) -> Outcome:
        """The outcome of some work. Where a helper dies of it, it is judged by whether new helpers are healthy."""
        started = time.monotonic()
        try:
            outcome: Outcome = work()
        except HelperDiedError as error:
            for helper in (self._solver, self._checker):
                helper.kill()
            self._start()
            outcome = Outcome(Verdict.KILLED, time.monotonic() - started, f"a helper of the sandbox died ({error})")
        else:
            return outcome
        healthy = Script(setup="", test="assert f(1) == 2", calls="f")
        try:
            trial, _ = self._checked("def f(x):\n    return x + 1", healthy, Limits(timeout_seconds=10.0), {}, None)
        except HelperDiedError as error:
            return replace(outcome, verdict=Verdict.HARNESS_ERROR, error=f"the sandbox died twice ({error})")
        if trial.verdict is Verdict.PASSED:
            return outcome
        return replace(outcome, verdict=Verdict.HARNESS_ERROR, error=f"a right solution fails: {trial.error}")


def absolute_interpreter(python: str) -> str:
    """Where an interpreter lies, its links not followed: a virtual environment's is a link."""
    return str(Path(shutil.which(python) or python).absolute())


def as_request(oracle: Script | Cases, expected: Expected | None) -> dict[str, Any]:
    """An oracle as JSON."""
    if isinstance(oracle, Script):
        return {"kind": "script", **asdict(oracle)}
    inputs = wire.dumps([list(arguments) for arguments in oracle.inputs], str)
    request = {"kind": "cases", "inputs": inputs, "base": oracle.base, "calls": oracle.calls}
    request.update(compare=oracle.compare, atol=oracle.atol)
    return request if expected is None else {**request, "file": str(expected.file), "tolerances": expected.tolerances}


def per_input(limits: Limits, expected: Expected) -> list[float]:
    """Seconds that each input may take."""
    return [max(limits.timeout_seconds, limits.reference_factor * seconds) for seconds in expected.seconds]


def in_all(limits: Limits, expected: Expected) -> float:
    """Seconds that all inputs together may take: EvalPlus's bound, but never less than a multiple of the reference's time."""
    bound = min(limits.total_seconds, sum(per_input(limits, expected))) + 1.0
    return max(bound, limits.reference_factor * expected.total_seconds)


def judge(answer: dict[str, Any], report: dict[str, Any]) -> Outcome:
    """The outcome, from what the checker found and how the solution's process ended."""
    end, seconds = report["end"], report["seconds"]
    base = Verdict(answer["base"]) if answer.get("base") else None
    if end == "setup":
        return Outcome(Verdict.HARNESS_ERROR, seconds, report["detail"])
    if end == "left":
        return Outcome(Verdict.KILLED, seconds, report["detail"], base)
    if answer["verdict"] != "lost":
        verdict = Verdict(answer["verdict"])
        return Outcome(verdict, seconds, answer["error"], base or (verdict if "base" in answer else None))
    verdict = {"timeout": Verdict.TIMEOUT, "killed": Verdict.KILLED, "memory": Verdict.OUT_OF_MEMORY}.get(
        end, Verdict.EXCEPTION
    )
    error = "the solution left before the tests ended" if end == "stopped" else report["detail"]
    place = f"{answer['error']}: " if answer["error"] else ""
    return Outcome(verdict, seconds, place + error, base or (verdict if "base" in answer else None))


def answer_of_unit(message: Any, expected: int) -> dict[str, Any]:
    """What a `unittest` run in the solution's process told, as a checker's answer."""
    match message:
        case ["failed", str(verdict), str(error)] if verdict in list(Verdict):
            return {"verdict": verdict, "error": error}
        case ["tests", int(), [str(verdict), str(error)]] if verdict in list(Verdict) and verdict != Verdict.PASSED:
            return {"verdict": verdict, "error": error}
        case ["tests", int(ran), None] if ran == expected:
            return {"verdict": Verdict.PASSED, "error": ""}
        case ["tests", int(ran), None]:
            return {"verdict": Verdict.WRONG_ANSWER, "error": f"{ran} of {expected} tests ran"}
    return {"verdict": "lost", "error": ""}


def count_tests(oracle: UnitTest) -> int:
    """Test methods of the class, from its source."""
    tree = ast.parse(oracle.test)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == oracle.name]
    methods = {
        node.name for found in classes for node in found.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return sum(name.startswith("test") for name in methods)
