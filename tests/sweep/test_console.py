"""What a sweep shows while it runs: in a real terminal one table that is drawn anew, elsewhere a line for each trial."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

COLUMNS, ROWS = 80, 11
SWEEP = """
import sys, time
from codeblock.core.console import say
from codeblock.sweep.console import Screen
from codeblock.sweep.points import Point
from codeblock.sweep.record import Record

points = [Point.of({"select.token_budget": number / 20}) for number in range(1, 9)]
with Screen(trials=9, done=1) as screen:
    for point in points[:6]:
        screen.begins(point, 0)
        screen.looks(point, 0, 10, 1.25)
        screen.ends(Record(point.values, 0, "", "evaluated", seconds=40, counts={"tiny": {"a": (1, 1), "b": (1, 0)}}))
    screen.begins(points[6], 0)
    screen.looks(points[6], 0, 20, 0.5)
    screen.begins(points[7], 0)
    screen.ends(Record(points[7].values, 0, "", "failed", error="a worker failed " + "and said much of it " * 8, seconds=3))
    time.sleep(3.5 * sys.stdout.isatty())
say("after it")
"""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_terminal() -> str:
    """All that is written to a terminal of 80 columns and 11 rows."""
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
        os.execve(sys.executable, [sys.executable, "-c", SWEEP], {**kept, "TERM": "xterm-256color"})
    written = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # its end, on Linux
            break
        if not chunk:
            break
        written += chunk
    assert os.waitpid(child, 0)[1] == 0, written.decode()
    return written.decode()


@pytest.fixture(scope="module")
def terminal() -> str:
    return in_terminal()


def test_a_terminal_gets_one_table_drawn_anew_and_taken_away_at_the_end(terminal: str) -> None:
    frames = terminal.split("8 of 9 trials; less than a minute left")[1:]
    assert len(frames) >= 3, "each second, for the times of those that run"
    last = [line.rstrip() for line in ESCAPES.sub("", frames[-2]).splitlines()]
    assert [line.split()[:3] for line in last if line.startswith(" budget")] == [
        *(["budget", text, "seed"] for text in ("0.15", "0.2", "0.25", "0.3", "0.4", "0.35")),
    ], "the last ones that have room, then those that run"
    assert re.search(r"budget 0.35 seed 0 +step 20, nll 0.500 +[1-4] s", "\n".join(last))
    after = frames[-1]
    assert after.count("\x1b[2K") == 1 + len([line for line in last if line]), "the table is erased"
    assert ESCAPES.sub("", after).rstrip().endswith("after it")


def test_no_line_of_the_table_is_broken_and_it_fits_the_terminal(terminal: str) -> None:
    frame = ESCAPES.sub("", terminal.split("8 of 9 trials; less than a minute left")[2])
    lines = [line for line in frame.splitlines() if line.strip()]
    assert len(lines) < ROWS
    assert all(len(line) <= COLUMNS for line in lines)
    assert sum("failed twice" in line for line in lines) == 1
    assert terminal.count("budget 0.4 seed 0: failed twice: a worker failed and said") == 1, "its whole error once, above"


def test_elsewhere_each_finished_trial_is_a_line() -> None:
    done = subprocess.run([sys.executable, "-c", SWEEP], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "2 of 9  budget 0.05 seed 0: pass@1 0.500 on tiny (40 s; less than a minute left)"
    assert [line.split("  ")[0] for line in lines[:-1]] == [f"{number} of 9" for number in range(2, 9)]
    assert lines[-2].startswith("8 of 9  budget 0.4 seed 0: failed twice: a worker failed")
    assert lines[-1] == "after it"
    assert "\x1b" not in done.stdout
