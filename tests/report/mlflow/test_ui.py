"""`codeblock ui`: the real server over the local store, and what a user is told where it cannot start."""

from __future__ import annotations

import socket
import urllib.parse
import urllib.request
from pathlib import Path

import pyarrow as pa
import pytest

from codeblock.core.config import Config
from codeblock.core.errors import CodeBlockError
from codeblock.report.mlflow.runs import Tracker
from codeblock.report.mlflow.ui import serve


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        body: bytes = answer.read()
    return body


@pytest.mark.slow
def test_the_ui_shows_what_was_logged_into_the_local_store(server: tuple[str, int], local_tracker: Tracker) -> None:
    child = local_tracker.start_arm(local_tracker.start_parent("run", Config(), {}), "a", "ui")
    table = {"tiny": pa.table({"task_id": ["t/0"], "verdict": ["passed"]})}
    local_tracker.log_arm(child, params={}, metrics={}, verdicts=table)
    assert b"<title>MLflow" in get(server[0])
    where = urllib.parse.urlencode({"run_uuid": child, "path": "verdicts/tiny.json"})
    assert b'["t\\/0","passed"]' in get(f"{server[0]}/get-artifact?{where}")


@pytest.mark.slow
def test_the_server_runs_without_job_workers(server: tuple[str, int]) -> None:
    environment = Path(f"/proc/{server[1]}/environ")
    if not environment.exists():
        pytest.skip("no /proc on this system")
    assert b"MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false" in environment.read_bytes().split(b"\0")


def test_a_taken_port_is_named(local_tracker: Tracker, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CodeBlockError, match=f"127.0.0.1:{port}: taken by another program; .*--port"):
            serve(local_tracker.uri, "127.0.0.1", port, tmp_path)


def test_a_tracking_server_is_not_served_again(tmp_path: Path) -> None:
    with pytest.raises(CodeBlockError, match="http://server:5000: a tracking server has its own UI"):
        serve("http://server:5000", "127.0.0.1", 5000, tmp_path)


def test_a_storage_without_runs_is_told_and_not_filled(tmp_path: Path) -> None:
    with pytest.raises(CodeBlockError, match="no MLflow database yet; run `codeblock run`"):
        serve(f"sqlite:///{tmp_path}/mlflow.db", "127.0.0.1", 5000, tmp_path)
    assert not list(tmp_path.iterdir())
