"""The checker's side of a `unittest` class: it sends the tests to the solution's process and decides by how each ended.

Which tests have to be passed, and which have to fail once the solution's answers are spoiled, is what the reference did
(`rehearse`). Without a reference the number of tests comes from the source.
"""

from __future__ import annotations

import ast
import secrets
from typing import Any

from codeblock.sandbox.failures import LostError, SolutionError
from codeblock.sandbox.proxy import Peer

SPOILED_SECONDS = 0.5
"""Seconds of each spoiled test of a reference; and of all those together that its samples repeat."""
PATIENT_SECONDS = 10.0
"""Seconds of a spoiled test of a sample."""
VERDICTS = {"failure": "wrong_answer", "skipped": "wrong_answer", "memory": "out_of_memory", "lies": "wrong_answer"}
"""From what the solution's process says of a test; any other word but "ok" is an exception."""
CheckerAnswer = dict[str, Any]
TestOutcomes = dict[str, tuple[str, str, float]]
"""By name of a test: how it ended, the text of its error, its seconds."""


def run_class(oracle: dict[str, Any], peer: Peer) -> CheckerAnswer:
    """Hold a solution against a class, by what its reference did if that is known."""
    found = run_tests(oracle, peer)
    if (failure := first_failure(found, oracle.get("tests"))) is not None:
        return failure
    if "tests" not in oracle and len(passed(found)) != (count := count_tests(oracle["test"], oracle["name"])):
        return {"verdict": "wrong_answer", "error": f"{len(passed(found))} of {count} tests ran"}
    if oracle.get("failing"):
        return run_spoiled(oracle, peer)
    return {"verdict": "passed", "error": ""}


def run_spoiled(oracle: dict[str, Any], peer: Peer) -> CheckerAnswer:
    """A pass that does not come from what the solution returns is none."""
    found = spoiled(peer, oracle, oracle["failing"], PATIENT_SECONDS, spoil=True)
    for name, (word, text, _) in found.items():
        if word == "lies":
            return {"verdict": "wrong_answer", "error": f"a {text} of the solution claims to be equal to everything"}
        if word == "changed":
            return {"verdict": "exception", "error": f"{name}: the solution changed {text}"}
    if any(found.get(name, ("ok",))[0] == "ok" for name in oracle["failing"]):
        return {"verdict": "exception", "error": "the tests pass whatever the solution returns: it changed what they run on"}
    return {"verdict": "passed", "error": ""}


def rehearse(oracle: dict[str, Any], peer: Peer) -> CheckerAnswer:
    """Run the reference: the names of its tests, and of those that pass again but fail where its answers are spoiled."""
    found = run_tests(oracle, peer)
    if (failure := first_failure(found, None)) is not None:
        return failure
    answer = {"verdict": "passed", "error": "", "tests": passed(found), "failing": [], "spoiled_seconds": 0.0}
    if not oracle["calls"]:
        return answer
    try:
        tried = spoiled(peer, oracle, None, SPOILED_SECONDS, spoil=True)
        quick, total = [], 0.0
        for name, (word, _, seconds) in tried.items():
            if word in ("failure", "error", "memory") and total + seconds <= SPOILED_SECONDS:
                quick.append(name)
                total += seconds
        again = spoiled(peer, oracle, quick, PATIENT_SECONDS, spoil=False)
    except (LostError, SolutionError, Exception):  # it passed, and can do so once only
        return answer
    failing = [name for name in quick if again.get(name, ("",))[0] == "ok"]
    return {**answer, "failing": failing, "spoiled_seconds": total}


def run_tests(oracle: dict[str, Any], peer: Peer) -> TestOutcomes:
    return asked(peer, "tests", oracle["test"], oracle["name"])


def spoiled(peer: Peer, oracle: dict[str, Any], names: list[str] | None, seconds: float, *, spoil: bool) -> TestOutcomes:
    return asked(peer, "spoiled", oracle["calls"], names, seconds, spoil)


def asked(peer: Peer, word: str, *arguments: Any) -> TestOutcomes:
    """How each test ended, by its name. Raises SolutionError for an answer that no honest process gives."""
    secret = secrets.token_hex(16)
    answer = peer.ask(word, secret, *arguments)
    try:
        told, found = answer
        tests = {str(name): (str(end), str(text), float(seconds)) for name, end, text, seconds in found}
    except (TypeError, ValueError, OverflowError):
        told, tests = None, {}
    if told != secret:
        raise SolutionError("exception", "the solution answered in place of its tests")
    return tests


def passed(found: TestOutcomes) -> list[str]:
    return [name for name, (word, *_) in found.items() if word == "ok"]


def first_failure(found: TestOutcomes, wanted: list[str] | None) -> CheckerAnswer | None:
    """The first test that did not end well; `wanted`: those that have to pass, while others may be skipped."""
    for name, (word, text, _) in found.items():
        if word == "changed":
            return {"verdict": "exception", "error": f"{name}: the solution changed {text}"}
    for name, (word, text, _) in found.items():
        if word != "ok" and not (word == "skipped" and (wanted is None or name not in wanted)):
            return {"verdict": VERDICTS.get(word, "exception"), "error": f"{name}: {text}"}
    missing = [name for name in wanted or () if name not in found]
    if missing:
        return {"verdict": "wrong_answer", "error": f"{missing[0]}: the test did not run"}
    return None


def count_tests(test: str, name: str) -> int:
    """Test methods of the class, from its source."""
    classes = [node for node in ast.parse(test).body if isinstance(node, ast.ClassDef) and node.name == name]
    methods = {
        node.name for found in classes for node in found.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return sum(method.startswith("test") for method in methods)
