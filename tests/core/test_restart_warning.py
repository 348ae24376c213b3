"""One line of Ray's is kept off standard error; everything else comes through, what a dying process says last above all."""

import subprocess
import sys

import pytest

LINES = """
import ctypes, os, sys
from codeblock.core.cluster import without_restart_warning

with without_restart_warning():
    print("first", file=sys.stderr)
    os.write(2, b"Actor 1 has constructor arguments in the object store and max_restarts > 0.\\n")
    os.write(2, b"why it ends\\n")
    {end}
print("behind", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("end", "status", "told"),
    [
        ("pass", 0, ["first", "why it ends", "behind"]),
        ("os._exit(1)", 1, ["first", "why it ends"]),
        ("ctypes.CDLL(None).abort()", -6, ["first", "why it ends"]),
    ],
    ids=["goes on", "leaves at once", "aborts in C"],
)
def test_every_line_but_the_one_comes_through_in_order(end, status, told):
    ended = subprocess.run([sys.executable, "-c", LINES.format(end=end)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.splitlines()) == (status, told)


def test_a_process_that_was_started_meanwhile_does_not_hold_it_up():
    lines = LINES.format(end="import subprocess; other = subprocess.Popen(['sleep', '30'])") + "other.kill()"
    ended = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False, timeout=20)
    assert ended.stderr.splitlines() == ["first", "why it ends", "behind"]
