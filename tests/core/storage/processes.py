"""What tests of several processes look at: files that appear, lines that are printed, the log that all write."""

import time


def appears(path, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def line_with(process, words):
    for line in process.stdout:
        if words in line:
            return line
    raise AssertionError(f"{words!r} was not printed")


def log(home):
    return (home / "log").read_text().splitlines()
