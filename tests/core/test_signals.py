"""What ends a command from outside does what Ctrl-C does, in every phase of it."""

import os
import pty
import signal
import subprocess
import sys

import pytest

WAITING = """
import os, signal, sys, time
from codeblock.core.signals import came, end_in_order, kept

end_in_order()
with kept():  # what Ray does as it starts
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
    signal.signal(signal.SIGINT, lambda number, _: sys.exit(number))
try:
    print("up", flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    print("closed after", came() and came().name, flush=True)
"""

AFTER_RAY = """
from codeblock.core.cluster import ray_session
from codeblock.core.config import ClusterConfig

with ray_session(ClusterConfig()):
    pass
"""
"""What a run does before its report."""


def ended_by(number: int, begun: str = WAITING) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    waiting = subprocess.Popen([sys.executable, "-c", begun], stdout=subprocess.PIPE, text=True, env=environment)
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "up\n"
    waiting.send_signal(number)
    told: str = waiting.communicate(timeout=20)[0]
    return told


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (signal.SIGINT, "closed after None\n"),
        (signal.SIGTERM, "closed after SIGTERM\n"),
        (signal.SIGHUP, "closed after SIGHUP\n"),
    ],
)
def test_each_closes_what_is_open_whatever_a_library_sets_meanwhile(number: int, told: str) -> None:
    assert ended_by(number) == told


@pytest.mark.slow
def test_the_end_of_a_cluster_leaves_them_as_they_are() -> None:
    before, after = WAITING.split("try:")
    assert ended_by(signal.SIGTERM, f"{before}{AFTER_RAY}try:{after}") == "closed after SIGTERM\n"


def test_a_signal_that_is_ignored_stays_so() -> None:
    begun = subprocess.Popen(
        ["nohup", sys.executable, "-uc", WAITING], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert begun.stdout is not None
    assert begun.stdout.readline() == "up\n"
    begun.send_signal(signal.SIGHUP)
    begun.send_signal(signal.SIGTERM)
    assert begun.communicate(timeout=20)[0] == "closed after SIGTERM\n"


def test_what_is_written_after_the_terminal_was_closed_is_lost_without_an_error() -> None:
    near, far = pty.openpty()
    taking_it = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", taking_it, sys.executable, "-c", WAITING]
    begun = subprocess.Popen(command, stdin=far, stdout=far, stderr=far, start_new_session=True)
    os.close(far)
    assert b"up" in os.read(near, 100)
    os.close(near)  # the kernel sends SIGHUP
    assert begun.wait(20) == 0
