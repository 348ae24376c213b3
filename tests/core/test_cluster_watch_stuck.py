"""A process that waits inside of Ray when the head goes, and hears no signal: it still ends with its line, its runs closed."""

import subprocess
import sys

STUCK = """
import signal, socket, time
from codeblock.core import cluster_watch as watch
from codeblock.core.config import ClusterConfig

watch.LOOK_SECONDS, watch.GONE_SECONDS, watch.UNWIND_SECONDS = 0.1, 0.5, 0.5
watch._Look._disk_is_full = lambda look: False  # asks Ray where its disk is
head = socket.create_server(("127.0.0.1", 0))

def ask_for_nodes():
    head.close()
    time.sleep(100)

watch.capacity = ask_for_nodes
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
address = "127.0.0.1:%d" % head.getsockname()[1]
watch._Look(ClusterConfig(), address, lambda error: print("closed:", type(error).__name__, flush=True)).start()
time.sleep(50)
"""


def test_a_process_that_cannot_be_left_tells_its_runs_and_ends_with_one_line():
    ended = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=40, check=False)
    assert (ended.returncode, ended.stdout) == (1, "closed: ClusterLostError\n")
    assert ended.stderr.startswith("error: cluster 127.0.0.1:")
    assert ended.stderr.count("\n") == 1
