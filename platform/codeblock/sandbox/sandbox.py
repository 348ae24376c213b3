"""The grader's side: run one solution at a time against its tests, and say how it ended.

A `Sandbox` owns two helper processes. The solver (`fork_server.py`) is isolated from the machine (`isolation.py`) and forks a
child for each solution; neither holds what another one's child could read. The checker (`checker.py`) is trusted: it runs the
tests, or compares outputs, and calls the solution over a socket. It alone says "passed" and "wrong_answer"; the solution's
process never holds tests, expected values or the verdict, so nothing that it patches, reads, says or leaves early can pass a
task; but for `unittest` classes (`test_class.py` says what holds there).

What is not covered: faults of the kernel and of Python itself; timing and other side channels; and a solution that recognises
a task by its inputs.
"""

from __future__ import annotations

import contextlib
import json
import select
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from codeblock.core.errors import CodeBlockError
from codeblock.sandbox import codec, launch
from codeblock.sandbox.foreign import as_script
from codeblock.sandbox.oracles import Cases, Command, Limits, Oracle, Script, UnitTest
from codeblock.sandbox.process import Helper, HelperDiedError, arguments
from codeblock.sandbox.text import MAX_REPORT, clean

HARD_FACTOR: Final = 10
GRACE_SECONDS: Final = 60.0
LOST_SECONDS: Final = 1.0
LATE_SECONDS: Final = 10.0
REFERENCE_PATIENCE: Final = 10
"""A reference may take this many times the official limit: the machine may be slow."""
HAND_SECONDS: Final = 30.0
"""Seconds in which a solution's process has to take its code."""
STOP: Final = b"s"
VISIBLE: Final = (Path(__file__).parent, *(Path(__file__).parents[1] / name for name in ("__init__.py", "moved.py")))
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
    """Seconds that the solution took: wall clock less waiting for a core, or the CPU time of its processes if that is more."""
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


@dataclass(frozen=True)
class Rehearsal:
    """What the reference did with a `UnitTest`."""

    tests: list[str]
    """Names of those that passed: each has to."""
    failing: list[str]
    """Those that fail where what the reference returns is thrown away."""
    spoiled_seconds: float
    """Seconds that these took."""


class Sandbox:
    """Runs solutions one after the other. Not to be shared by threads. Close it, or use it in a `with` block.

    `python` is the interpreter of the solutions (default: this one). With `wait=False` the helpers are started, and `wait`
    comes before the first solution: several sandboxes then start side by side. Both raise CodeBlockError where the helpers
    cannot start.
    """

    def __init__(self, python: str | None = None, *, wait: bool = True) -> None:
        self.python = absolute_interpreter(python or sys.executable)
        self.missing: list[str] = []
        self._bwrap = launch.bubblewrap_works(self.python)
        with self._whole():
            self._launch()
        if wait:
            self.wait()

    def run(self, code: str, oracle: Oracle, limits: Limits, known: Expected | Rehearsal | None = None) -> Outcome:
        """Hold a whole solution against an oracle. `known`: what `collect` (a must) or `rehearse` gave for its reference."""
        request: dict[str, Any] = {}
        if isinstance(oracle, Command):
            code, oracle = as_script(code, oracle)
        if isinstance(oracle, Cases):
            assert isinstance(known, Expected)
            request["limits"] = per_input(limits, known)
            limits = replace(limits, timeout_seconds=in_all(limits, known))
        if isinstance(known, Rehearsal) and known.failing:
            spoiled = 1.0 + limits.reference_factor * known.spoiled_seconds
            limits = replace(limits, timeout_seconds=limits.timeout_seconds + spoiled)
        return self._guarded(lambda: self._checked(code, oracle, limits, request, known)[0])

    def collect(self, oracle: Cases, limits: Limits, file: Path) -> tuple[Outcome, Expected | None]:
        """Run the reference of `Cases` on all inputs; its outputs go to `file`."""
        total = replace(limits, timeout_seconds=REFERENCE_PATIENCE * limits.total_seconds)
        request = {"collect": str(file.absolute()), "limits": [total.timeout_seconds] * len(oracle.inputs)}
        outcome, answer = self._told(oracle.reference, oracle, total, request)
        if outcome.verdict is not Verdict.PASSED:
            return outcome, None
        return outcome, Expected(file.absolute(), answer["seconds"], answer["tolerances"], outcome.seconds)

    def rehearse(self, code: str, oracle: UnitTest, limits: Limits) -> tuple[Outcome, Rehearsal | None]:
        """Run the reference of a `UnitTest`: once as it is and, where its function is named, again with its answers spoiled."""
        outcome, answer = self._told(code, oracle, limits, {"rehearse": True})
        if outcome.verdict is not Verdict.PASSED:
            return outcome, None
        return outcome, Rehearsal(answer["tests"], answer["failing"], answer["spoiled_seconds"])

    def hang_up(self) -> None:
        """Have the helpers end; `close` waits for them."""
        self._solver.hang_up()
        self._checker.hang_up()

    def close(self) -> None:
        """End the helpers."""
        self.hang_up()
        self._solver.close()
        self._checker.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def wait(self) -> None:
        """Wait until the helpers are ready."""
        with self._whole():
            self.missing = self._solver.wait()
            self._checker.wait()

    def _launch(self) -> None:
        command = launch.command(self.python, arguments("fork_server"), VISIBLE, self._bwrap)
        self._solver = Helper(self.python, command, {"inside_bwrap": self._bwrap, "visible": [str(path) for path in VISIBLE]})
        self._start_checker()

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """Tell a start that fails as the user can mend it."""
        try:
            yield
        except (HelperDiedError, OSError) as error:
            raise CodeBlockError(f"grading: the sandbox does not start ({error}); is {self.python} whole?") from error

    def _start_checker(self) -> None:
        self._known: tuple[Oracle, Expected | Rehearsal | None] | None = None
        self._checker = Helper(sys.executable, [sys.executable, *arguments("checker")], None)

    def _told(self, code: str, oracle: Oracle, limits: Limits, request: dict[str, Any]) -> tuple[Outcome, dict[str, Any]]:
        """The outcome of a reference, and the checker's answer."""
        found: dict[str, Any] = {}

        def work() -> Outcome:
            outcome, answer = self._checked(code, oracle, limits, request, None)
            found.update(answer)
            return outcome

        return self._guarded(work), found

    def _checked(
        self, code: str, oracle: Oracle, limits: Limits, request: dict[str, Any], known: Expected | Rehearsal | None
    ) -> tuple[Outcome, dict[str, Any]]:
        """A solution in one process, its verdict in another; the outcome, and the checker's answer."""
        seconds, beside = limits.timeout_seconds, isinstance(oracle, UnitTest)
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                settings = {"timeout_seconds": seconds, "memory_mb": limits.memory_mb, "beside": beside}
                self._solver.send(settings, theirs)
            hand(ours, [code, beside])
            told = {**request, "seconds": seconds}
            if self._known is None or self._known[0] is not oracle or self._known[1] is not known:
                told["oracle"] = as_request(oracle, known)
            self._checker.send(told, ours)
            self._known = (oracle, known)
        deadline = time.monotonic() + HARD_FACTOR * seconds + GRACE_SECONDS
        first = select.select([self._checker, self._solver], [], [], HARD_FACTOR * seconds + GRACE_SECONDS)[0]
        if self._checker not in first:
            self._solver.signal(STOP)  # it has ended, or does not answer in time
            report = self._solver.receive(deadline)
            answer = self._late_answer()
        else:
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
            if self._checker.ended():  # the solution's process ended because it did, not the other way round
                raise
            self._renew_checker()
            return {"verdict": "lost", "error": ""}

    def _renew_checker(self) -> None:
        self._checker.kill()
        self._start_checker()
        self._checker.wait()

    def _guarded(self, work: Callable[[], Outcome]) -> Outcome:
        """The outcome of some work. Where the sandbox fails over it, that is judged by whether a new one is healthy."""
        started = time.monotonic()
        with contextlib.suppress(HelperDiedError):
            outcome = work()
            if outcome.verdict is not Verdict.HARNESS_ERROR:
                return outcome
        try:
            self._restart()
            # Not the solution's doing, such as an end from outside or a machine without memory, hardly comes twice.
            outcome = work()
        except HelperDiedError as error:
            outcome = Outcome(Verdict.KILLED, time.monotonic() - started, f"the sandbox's own process died ({error})")
            self._restart()
        illness = self._illness()
        return outcome if illness is None else replace(outcome, verdict=Verdict.HARNESS_ERROR, error=illness)

    def _restart(self) -> None:
        for helper in (self._solver, self._checker):
            helper.kill()
        with self._whole():
            self._launch()
        self.wait()

    def _illness(self) -> str | None:
        """Why a right solution does not pass here; None where it does."""
        healthy = Script(setup="", test="assert f(1) == 2", calls="f")
        try:
            trial, _ = self._checked("def f(x):\n    return x + 1", healthy, Limits(timeout_seconds=10.0), {}, None)
        except HelperDiedError as error:
            return f"the sandbox died twice ({error})"
        return None if trial.verdict is Verdict.PASSED else f"a right solution fails: {trial.error}"


def hand(connection: socket.socket, solution: list[Any]) -> None:
    """Send a solution to its process. Where that takes nothing it has ended, and the checker sees it."""
    connection.settimeout(HAND_SECONDS)
    with contextlib.suppress(codec.ClosedError, ValueError):
        codec.Channel(connection).send(json.dumps(solution))
    connection.settimeout(None)


def absolute_interpreter(python: str) -> str:
    """Where an interpreter lies, its links not followed: a virtual environment's is a link."""
    return str(Path(shutil.which(python) or python).absolute())


def as_request(oracle: Oracle, known: Expected | Rehearsal | None) -> dict[str, Any]:
    """An oracle as JSON, with what is known of its reference."""
    if isinstance(oracle, Script):
        return {"kind": "script", **asdict(oracle)}
    if isinstance(oracle, UnitTest):
        more = {} if not isinstance(known, Rehearsal) else {"tests": known.tests, "failing": known.failing}
        return {"kind": "unittest", **asdict(oracle), **more}
    assert isinstance(oracle, Cases)
    inputs = codec.dumps([list(arguments) for arguments in oracle.inputs], str)
    request = {"kind": "cases", "inputs": inputs, "base": oracle.base, "calls": oracle.calls}
    request.update(compare=oracle.compare, atol=oracle.atol)
    return {**request, "file": str(known.file), "tolerances": known.tolerances} if isinstance(known, Expected) else request


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
