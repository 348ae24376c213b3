"""A server that asks for a login: who is let in, and what the others are told."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.tracked import wait_for

from codeblock.core.config import Config, TrackConfig
from codeblock.core.errors import CodeBlockError
from codeblock.report.mlflow.runs import Tracker
from codeblock.report.mlflow.store import probe_tracking

pytestmark = pytest.mark.slow
ADMIN, READER = ("admin", "the-admins-own"), ("reader", "a-readers-own")
SETTINGS = """[mlflow]
default_permission = READ
database_uri = sqlite:///{home}/auth.db
admin_username = {user}
admin_password = {password}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""
HOW = "; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"


@pytest.fixture(scope="module")
def locked_server(local_tracker: Tracker, storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server whose experiment `codeblock` others than its admin may read alone."""
    home, address = tmp_path_factory.mktemp("locked"), f"http://127.0.0.1:{free_port()}"
    shutil.copy(storage / "mlflow.db", home / "mlflow.db")  # with the tables, which take a while
    (home / "auth.ini").write_text(SETTINGS.format(home=home, user=ADMIN[0], password=ADMIN[1]))
    command = ["-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1", "--port", address.rpartition(":")[2]]
    given = {"MLFLOW_AUTH_CONFIG_PATH": f"{home}/auth.ini", "MLFLOW_FLASK_SERVER_SECRET_KEY": "x"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *command, "--backend-store-uri", f"sqlite:///{home}/mlflow.db"],
            **{"cwd": home, "stdout": log, "stderr": log, "start_new_session": True},
            env={**os.environ, **given, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )
    try:
        wait_for(address, process, home / "log")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.fixture
def login(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    return monkeypatch


def log_in(login: pytest.MonkeyPatch, user: str, password: str) -> None:
    login.setenv("MLFLOW_TRACKING_USERNAME", user)
    login.setenv("MLFLOW_TRACKING_PASSWORD", password)


def add_user(address: str, user: str, password: str) -> None:
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/users/create",
        json.dumps({"username": user, "password": password}).encode(),
        {"Content-Type": "application/json", "Authorization": "Basic " + b64encode(":".join(ADMIN).encode()).decode()},
    )
    urllib.request.urlopen(request, timeout=30).close()


def told(address: str, experiment: str = "codeblock") -> str:
    """What a probe is told, and a run, which is the same; empty where both are let in."""
    found = []
    config = TrackConfig(uri=address, experiment=experiment)
    for work in (
        lambda: probe_tracking(config, Path("unused")),
        lambda: Tracker(config, Path("unused")).start_parent("x", Config(), {}),
    ):
        try:
            work()
            found.append("")
        except CodeBlockError as error:
            found.append(str(error))
    assert found[0] == found[1]
    return found[0].removeprefix(f"MLflow at {address}: ")


def test_without_a_login_or_with_a_wrong_one_it_is_told_which_variables_to_set(
    locked_server: str, login: pytest.MonkeyPatch
) -> None:
    assert told(locked_server) == f"asks for a login{HOW}"
    login.setenv("MLFLOW_TRACKING_TOKEN", "stale")
    assert told(locked_server) == f"does not take MLFLOW_TRACKING_TOKEN{HOW}"
    log_in(login, ADMIN[0], "wrong")
    assert told(locked_server) == f"does not take the login of user 'admin'{HOW}"


def test_with_the_right_login_runs_are_logged(locked_server: str, login: pytest.MonkeyPatch) -> None:
    log_in(login, *ADMIN)
    assert told(locked_server) == ""


def test_a_user_who_may_only_read_the_experiment_is_told_before_a_run(locked_server: str, login: pytest.MonkeyPatch) -> None:
    add_user(locked_server, *READER)
    log_in(login, *READER)
    assert told(locked_server) == (
        "user 'reader' may not write the experiment; have it granted EDIT there, or set track.experiment to one of its own"
    )
    probe_tracking(TrackConfig(uri=locked_server, experiment="mine"), Path("unused"))
    assert told(locked_server, "mine") == ""
