"""The checker: a trusted helper that holds a solution's answers against the tests, in a process that no solution code runs in.

Standard input is a socket to the grader. A request is JSON with an oracle (none: the last one again) and, as a file
descriptor, the channel to the solution. Only the checker can say that a solution passed.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import re
import resource
import signal
import socket
import sys
import types
from pathlib import Path
from typing import Any

from codeblock.sandbox import codec
from codeblock.sandbox.classes import CheckerAnswer, rehearse, run_class
from codeblock.sandbox.codec import Channel
from codeblock.sandbox.compare import same, tolerances
from codeblock.sandbox.failures import LostError, SolutionError
from codeblock.sandbox.fork_server import receive, send, take_connection
from codeblock.sandbox.proxy import MODULE, TESTS, Bounds, Peer
from codeblock.sandbox.text import MAX_REPORT, clean, describe
from codeblock.sandbox.usage import content

MEMORY_BYTES = 1536 << 20
"""Address space that the checker may take besides what it starts with."""
WORN_KIB = 512 << 10
"""Memory after which it is replaced: what it has had once, it does not give back."""
GRACE_SECONDS = 5.0
MAX_SHOWN = 60
OBJECT = re.compile(r'\{"handle": "([^"\\]{1,200})"\}')


def main() -> None:
    """Answer requests until the grader is gone."""
    codec.unlimited_integers()
    with contextlib.suppress(ImportError):
        import numpy  # noqa: F401  loaded once, and before memory is limited
    limit = MEMORY_BYTES + address_space()
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, stop_tests)
    connection = take_connection()
    gc.collect()
    gc.freeze()  # what is there stays there, and need not be looked through again
    oracle: dict[str, Any] = {}
    with contextlib.suppress(EOFError, OSError):
        send(connection, {"missing": []})
        while True:
            request, channel = receive(connection)
            if "oracle" in request:
                oracle = {}  # the last one may be large
                oracle = loaded(request["oracle"])
            with socket.socket(fileno=channel) as solution:  # open until the grader has the verdict: its process ends with it
                send(connection, answer(request, oracle, Channel(solution)))


def address_space() -> int:
    """Bytes of address space that this process has."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()


def loaded(oracle: dict[str, Any]) -> dict[str, Any]:
    """An oracle with compiled tests, or the values of inputs and the texts of expected outputs."""
    if oracle["kind"] == "unittest":
        return oracle
    if oracle["kind"] == "script":
        test = compile(oracle["test"], TESTS, "exec", dont_inherit=True)
        return {**oracle, "setup": compile(oracle["setup"], "<setup>", "exec", dont_inherit=True), "test": test}
    more: dict[str, Any] = {"inputs": codec.loads(oracle["inputs"], no_handle), "inputs_text": oracle["inputs"]}
    if "file" in oracle:
        more["expected"] = Path(oracle["file"]).read_text(encoding="utf-8").split("\n")[:-1]
        more["bounds"] = Bounds(max(map(len, more["expected"]), default=0))
    return {**oracle, **more}


def no_handle(_: Any) -> Any:
    raise ValueError("a value that cannot leave its process")


def answer(request: dict[str, Any], oracle: dict[str, Any], channel: Channel) -> CheckerAnswer:
    """Hold one solution against the oracle, in bounded CPU time: what a solution returns may be endless."""
    streams = sys.stdin, sys.stdout, sys.stderr, builtins.input
    try:
        # Rings again, in case that the tests catch it.
        signal.setitimer(signal.ITIMER_PROF, request["seconds"] + GRACE_SECONDS, 1.0)
        try:
            found = answer_of(request, oracle, channel)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except EndlessError:
        found = failed("timeout", "the tests do not end on what the solution returned")
    sys.stdin, sys.stdout, sys.stderr, builtins.input = streams
    return {**found, "error": clean(found["error"], MAX_REPORT), "worn": peak_kib() > WORN_KIB}


def peak_kib() -> int:
    """The most memory that this process has held (KiB); 0 where it cannot be asked. `getrusage` gives its parent's, too."""
    try:
        found = re.search(rb"VmHWM:\s*(\d+)", content("/proc/self/status"))
    except OSError:
        return 0
    return int(found[1]) if found else 0


class EndlessError(BaseException):
    """The tests took too much CPU time."""


def stop_tests(*_: object) -> None:
    raise EndlessError


def failed(verdict: str, error: str, **more: Any) -> CheckerAnswer:
    return {"verdict": verdict, "error": error, **more}


def answer_of(request: dict[str, Any], oracle: dict[str, Any], channel: Channel) -> CheckerAnswer:
    """Hold the solution against the oracle. "lost" where its process ended first: the grader knows how."""
    base = {"base": None} if oracle["kind"] == "cases" else {}
    bounds = oracle.get("bounds") or Bounds(codec.MAX_MESSAGE_BYTES if request.get("collect") else 0)
    try:
        peer = Peer(channel, oracle.get("operators", ()), bounds)
        if oracle["kind"] == "script":
            return run_script(oracle, peer)
        if oracle["kind"] == "unittest":
            return rehearse(oracle, peer) if request.get("rehearse") else run_class(oracle, peer)
        if request.get("collect"):
            return collect(request["limits"], oracle, peer, request["collect"])
        return run_cases(request["limits"], oracle, peer)
    except LostError:
        return failed("lost", "", **base)
    except SolutionError as error:
        return failed(error.verdict, error.text, **base)
    except MemoryError:
        return failed("out_of_memory", "what the solution returned does not fit into memory")
    except AssertionError as error:
        return failed("wrong_answer", describe(error, TESTS))
    except EndlessError:
        raise
    except BaseException as error:
        return failed("exception", describe(error, TESTS))


def run_script(oracle: dict[str, Any], peer: Peer) -> CheckerAnswer:
    """Run test code. Of the solution it gets what is under test, and the names that the reference defines and it uses."""
    module = types.ModuleType(MODULE)
    names = module.__dict__
    sys.modules[MODULE] = module  # dataclasses and pickle look it up
    calls = {name: peer.named(name) for name in (oracle["calls"],) if name in peer.names}
    wanted = names_in(oracle["setup"]) | names_in(oracle["test"])
    for name in sorted(wanted & peer.names.intersection(oracle["names"]) - vars(builtins).keys()):
        names[name] = peer.named(name)
    names.update(calls)
    exec(oracle["setup"], names)
    names.pop(oracle["calls"], None)
    names.update(calls)
    try:
        exec(oracle["test"], names)
    except (SolutionError, LostError, EndlessError):
        raise
    except BaseException as error:
        # The tests let an error of the solution through: it is the solution's, whatever its type.
        if (told := peer.told_of(error)) is not None:
            raise told from error
        raise
    peer.end()
    return {"verdict": "passed", "error": ""}


def names_in(code: types.CodeType) -> set[str]:
    """All names that code looks up, in its functions too."""
    return set(code.co_names).union(*(names_in(const) for const in code.co_consts if isinstance(const, types.CodeType)))


def run_cases(limits: list[float], oracle: dict[str, Any], peer: Peer) -> CheckerAnswer:
    """Hold each output against the expected one, up to the first that differs."""
    outputs = peer.outputs(oracle, limits)
    for number, wanted in enumerate(oracle["expected"]):
        base = "passed" if number >= oracle["base"] else None
        place = f"{'base' if base is None else 'plus'} input {number + 1}"
        try:
            text, _ = next(outputs)
            if not right(text, wanted, number, oracle, peer):
                return failed("wrong_answer", f"{place}: {told(text)}, not {shown(wanted)}", base=base)
        except LostError:
            return failed("lost", place, base=base)
        except SolutionError as error:
            return failed(error.verdict, f"{place}: {error.text}", base=base)
        except MemoryError:
            return failed("out_of_memory", f"{place}: the output does not fit into memory", base=base)
        except Exception as error:
            return failed("wrong_answer", f"{place}: {describe(error, TESTS)}", base=base)
    try:
        peer.end()
    except SolutionError as error:
        return failed(error.verdict, error.text, base="passed")
    return {"verdict": "passed", "error": "", "base": "passed"}


def right(text: str, wanted: str, number: int, oracle: dict[str, Any], peer: Peer) -> bool:
    """Whether an output is the expected one; equal texts are equal values, but for NaN, and need not be read."""
    if text == wanted and oracle["compare"] == "equal" and "NaN" not in text and '"raw"' not in text:
        return True
    expected = codec.loads(wanted, no_handle)
    return same(oracle["compare"], peer.value(text), expected, oracle["inputs"][number], oracle["tolerances"][number])


def collect(limits: list[float], oracle: dict[str, Any], peer: Peer, file: str) -> CheckerAnswer:
    """Write the outputs of the reference to a file, one a line; the seconds and the tolerance of each."""
    seconds: list[float] = []
    floats: list[Any] = []
    with Path(file).open("w", encoding="utf-8") as lines:
        for number, (text, spent) in enumerate(peer.outputs(oracle, limits)):
            # Whether there is an output is all that counts; it may be one that stays in its process, such as a match.
            kept = "true" if oracle["compare"] == "not_none" and text != "null" else text
            # A long string is no float, and is not read to find that out.
            value = "" if kept.startswith('"') else codec.loads(kept, no_handle)
            floats.append(value)
            arguments = oracle["inputs"][number]
            if oracle["compare"] != "equal" and not same(oracle["compare"], value, value, arguments, oracle["atol"]):
                return failed("wrong_answer", f"input {number + 1}: its own output {shown(text)} is not accepted")
            lines.write(f"{kept}\n")
            seconds.append(spent)
    found = tolerances(floats, oracle["base"], oracle["atol"])
    return {"verdict": "passed", "error": "", "seconds": seconds, "tolerances": found}


def told(text: str) -> str:
    """What an output is, in few words."""
    found = OBJECT.fullmatch(text)
    return f"an object of {clean(found[1], MAX_SHOWN)}" if found else shown(text)


def shown(text: str) -> str:
    """A value's text, cut."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
