"""Programs in other languages: an interpreter or compiler of theirs runs in the isolation of a solution.

The solution's process is a small Python program (`RUNNER`) that writes one file, starts a command and says how it ended; the
checker decides by that (`judge`). So a `Command` needs nothing of the sandbox that a `Script` does not.

What holds: solution and tests are one program, as with the public graders of such benchmarks, so a solution that reads its own
source can pass (as one can under a `UnitTest`). Leaving early cannot: the program has to say a word that it learns only from
the statement behind the tests, and that differs from run to run.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from codeblock.sandbox.failures import SolutionError
from codeblock.sandbox.oracles import Command, Script

RUNNER = """\
import subprocess

def run(command, file, program):
    with open(file, "w", encoding="utf-8", errors="replace") as out:
        out.write(program)
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        return [None, "", error.strerror or ""]
    return [done.returncode, *(told[-100_000:].decode(errors="replace") for told in (done.stdout, done.stderr))]
"""
"""What runs in the solution's place. It holds neither the solution nor the tests before it is called with both."""


def as_script(code: str, oracle: Command) -> tuple[str, Script]:
    """A solution and its tests in another language, as a solution in Python and a test of how their program ends."""
    word = secrets.token_hex(16)
    program = f"{code}\n{oracle.test}\n{oracle.says.replace('{word}', word)}\n"
    call = f"run({list(oracle.command)!r}, {oracle.file!r}, {program!r})"
    test = f"judge({call}, {word!r}, {oracle.command[0]!r}, {oracle.silent!r}, {oracle.unreadable!r}, {oracle.failing!r})"
    return RUNNER, Script(setup="from codeblock.sandbox.foreign import judge", test=test, calls="run")


def judge(ended: list[Any], word: str, program: str, silent: bool, unreadable: str, failing: str) -> None:
    """Raise SolutionError with the verdict unless a program ended with status 0 and the word as the last that it said.

    ended: status (None: it could not be started), output and errors. `silent`: it may have said nothing else. The patterns find
    in its errors that it could not be read, and that a test failed.
    """
    status, output, errors = ended
    if status is None:
        raise SolutionError("exception", f"{program} cannot be started in the sandbox ({errors}); is it installed below /usr?")
    said = output.rstrip("\n")
    if status == 0 and (said == word and not errors if silent else said.endswith(word)):
        return
    lines = [line.strip() for line in (errors or output.replace(word, "")).splitlines() if line.strip()]
    told = next((line for line in lines if re.search(rf"{unreadable}|{failing}|^\w*Error\b", line)), lines[0] if lines else "")
    if re.search(unreadable, errors):
        raise SolutionError("syntax_error", told)
    if re.search(failing, errors) or said.endswith(word):
        raise SolutionError("wrong_answer", told)
    if status < 0:
        raise SolutionError("killed", f"killed by signal {-status}")
    raise SolutionError("exception", told or f"exit with code {status} before the tests ended")
