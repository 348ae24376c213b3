"""A SQLite store of MLflow, which takes seconds to make, and a real server over it: once for all tests (conftest.py)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.ports import free_port

if TYPE_CHECKING:
    from codeblock.report.mlflow.runs import Tracker

SERVE = "import sys; from pathlib import Path; from codeblock.report.mlflow.ui import serve; "
SERVE += "serve(sys.argv[1], '127.0.0.1', int(sys.argv[2]), Path(sys.argv[3]))"


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="session")
def local_tracker(storage: Path) -> Tracker:
    from codeblock.core.config import TrackConfig
    from codeblock.report.mlflow.runs import Tracker

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Tracker(TrackConfig(), storage)


@pytest.fixture(scope="session")
def server(local_tracker: Tracker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Address and process id of an MLflow server that `codeblock ui` started over the store."""
    place = tmp_path_factory.mktemp("server")
    port = free_port()
    command = [sys.executable, "-c", SERVE, local_tracker.uri, str(port), str(place / "artifacts")]
    with (place / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=place, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, process, place / "log")
        yield address, process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.5)
    raise RuntimeError(f"mlflow server did not start: {log.read_text()[-2000:]}")
