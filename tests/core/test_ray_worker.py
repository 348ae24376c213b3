"""What a worker process of Ray does before its first task."""

import subprocess
import sys

FREED = """
import sys
from codeblock.core.ray_worker import without_exits

class Freed:
    def __init__(self, error):
        self.error = error

    def __del__(self):
        raise self.error

sys.unraisablehook = without_exits
Freed(SystemExit(1))
Freed(ValueError("a bug"))
"""


def test_an_exit_while_an_object_is_freed_leaves_no_trace_and_an_error_does():
    told = subprocess.run([sys.executable, "-c", FREED], check=True, capture_output=True, text=True).stderr
    assert "ValueError: a bug" in told
    assert "SystemExit" not in told
