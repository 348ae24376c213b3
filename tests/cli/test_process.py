"""How the process of a command ends."""

import subprocess
import sys

import pytest

ENDING = """
import atexit, sys
import codeblock.cli.commands as commands
from codeblock.cli.process import command

class Loaded:
    def __del__(self):
        print("taken apart")

def main():
    global loaded
    loaded = Loaded()
    atexit.register(print, "closed")
    print("the last line")
    {ends}

commands.main = main
command()
"""


@pytest.mark.parametrize(("ends", "status"), [("sys.exit(143)", 143), ("sys.exit(0)", 0), ("sys.exit()", 0)])
def test_what_was_to_be_closed_is_closed_and_nothing_is_taken_apart(ends: str, status: int) -> None:
    ended = subprocess.run([sys.executable, "-c", ENDING.format(ends=ends)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (status, "the last line\nclosed\n"), ended.stderr


def test_an_error_that_nobody_foresaw_keeps_its_traceback() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDING.format(ends="1 / 0")], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr
