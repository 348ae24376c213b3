"""Solutions in other languages end with the right verdict, behind the same isolation, by interpreters that are really there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from codeblock.sandbox.oracles import Command, Limits
from codeblock.sandbox.sandbox import Outcome, Sandbox, Verdict

LIMITS = Limits(timeout_seconds=2.0, memory_mb=4096)
SAYS = "process.stdout.write('{word}')"
NODE = Command(("node", "test.js"), "test.js", "console.assert(f(2) === 3)", SAYS, ("node", "--version"), silent=True)
BASH = Command(
    ("bash", "-e", "test.sh"),
    "test.sh",
    "[ $(f 2) = 3 ] || { echo 'Assertion: no 3' >&2; exit 1; }",
    "echo {word}",
    ("bash", "--version"),
)
CPP = Command(
    ("sh", "-c", "g++ -o program test.cpp && ./program"),
    "test.cpp",
    "#undef NDEBUG\n#include <cassert>\n#include <cstdio>\nint main() { assert(f(2) == 3);",
    'puts("{word}"); }',
    ("g++", "--version"),
    unreadable="error:",
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def run(sandbox: Sandbox, code: str, oracle: Command) -> Outcome:
    if shutil.which(oracle.command[0] if oracle is not CPP else "g++") is None:
        pytest.skip(f"{oracle.command[0]} is not installed")
    return sandbox.run(code, oracle, LIMITS)


@pytest.mark.parametrize(
    ("code", "verdict", "error"),
    [
        ("const f = (x) => x + 1", Verdict.PASSED, ""),
        ("const f = (x) => x", Verdict.WRONG_ANSWER, "Assertion failed"),
        ("const f = (x) => {", Verdict.SYNTAX_ERROR, "SyntaxError: Unexpected end of input"),
        ("const g = (x) => x", Verdict.EXCEPTION, "ReferenceError: f is not defined"),
        ("const f = (x) => { while (true) {} }", Verdict.TIMEOUT, "no end after 2 s"),
        ("const f = (x) => { process.exit(0) }", Verdict.EXCEPTION, "exit with code 0 before the tests ended"),
        ("const f = (x) => { process.kill(process.pid, 'SIGKILL') }", Verdict.KILLED, "killed by signal 9"),
        ("console.log('debug'); const f = (x) => x + 1", Verdict.WRONG_ANSWER, "debug"),
    ],
)
def test_javascript(sandbox: Sandbox, code: str, verdict: Verdict, error: str) -> None:
    outcome = run(sandbox, code, NODE)
    assert (outcome.verdict, error in outcome.error) == (verdict, True), outcome


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("f() { echo $(($1 + 1)); }", Verdict.PASSED),
        ("echo a line of its own; f() { echo $(($1 + 1)); }", Verdict.PASSED),
        ("f() { echo $1; }", Verdict.WRONG_ANSWER),
        ("exit 0", Verdict.EXCEPTION),
    ],
)
def test_bash(sandbox: Sandbox, code: str, verdict: Verdict) -> None:
    assert run(sandbox, code, BASH).verdict is verdict


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("int f(int x) { return x + 1; }", Verdict.PASSED),
        ("int f(int x) { return x; }", Verdict.WRONG_ANSWER),
        ("int f(int x) { return x +; }", Verdict.SYNTAX_ERROR),
    ],
)
def test_a_compiled_language_is_one_command_of_a_shell(sandbox: Sandbox, code: str, verdict: Verdict) -> None:
    assert run(sandbox, code, CPP).verdict is verdict


def test_the_isolation_is_that_of_every_solution(sandbox: Sandbox, tmp_path: Path) -> None:
    """No list of users, no file of the grader's, and nothing of the last solution."""
    look = """
    const fs = require('fs')
    const f = (x) => {
      fs.writeFileSync('left', 'behind')
      const hidden = ['/etc/passwd', 'PATH'].filter((path) => fs.existsSync(path))
      return hidden.length === 0 && fs.readdirSync('.').sort().join() === 'left,test.js' ? x + 1 : hidden
    }
    """.replace("PATH", str(tmp_path))
    assert run(sandbox, look, NODE).verdict is Verdict.PASSED
    assert run(sandbox, look, NODE).verdict is Verdict.PASSED


def test_memory_is_that_of_all_its_processes(sandbox: Sandbox) -> None:
    greedy = "f() { for _ in 1 2 3 4; do tail /dev/zero & done; wait; }"  # each looks for the end of an endless line
    outcome = sandbox.run(greedy, BASH, Limits(timeout_seconds=10.0, memory_mb=300))
    assert (outcome.verdict, outcome.error) == (Verdict.OUT_OF_MEMORY, "its processes hold more than 300 MiB together")


def test_an_interpreter_that_is_not_there_is_named(sandbox: Sandbox) -> None:
    outcome = sandbox.run("1", replace(NODE, command=("no-such-interpreter", "x")), LIMITS)
    assert outcome.error == (
        "no-such-interpreter cannot be started in the sandbox (No such file or directory); is it installed below /usr?"
    )
