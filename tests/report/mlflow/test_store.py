"""Where runs go, and what a user is told where they cannot go there."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codeblock.core.config import Config, TrackConfig
from codeblock.core.errors import CodeBlockError
from codeblock.report.mlflow.runs import Tracker
from codeblock.report.mlflow.store import connect, sqlite_path, tracking_uri, without_password


@pytest.fixture(autouse=True)
def _no_server_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_the_configured_uri_goes_before_the_environment_and_that_before_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri(TrackConfig(), tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert tracking_uri(TrackConfig(), tmp_path) == "http://server:5000"
    assert tracking_uri(TrackConfig(uri="http://other:1"), tmp_path) == "http://other:1"


def test_a_relative_storage_becomes_an_absolute_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(TrackConfig(), Path("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"


@pytest.mark.parametrize(
    "name", ["plain", "a?b", "a%20b", "a%3Fb", "100%", "a#b", "two words [v2]", "ümlaut", "a@b:c", "a&b=c;d"]
)
def test_the_database_lies_in_the_storage_whatever_its_name(tmp_path: Path, name: str) -> None:
    assert sqlite_path(tracking_uri(TrackConfig(), tmp_path / name)) == tmp_path / name / "mlflow.db"


def test_mlflow_finds_the_database_of_a_storage_with_an_odd_name(tmp_path: Path) -> None:
    storage = tmp_path / "what? 100%20"
    client, experiment = connect(TrackConfig(), storage)
    run = client.create_run(experiment)
    client.log_text(run.info.run_id, "x", "a.txt")
    assert (storage / "mlflow.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [storage.name]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["a.txt"]


def test_telemetry_is_off_unless_the_user_turned_it_on() -> None:
    code = "import os, codeblock.report.mlflow.store, mlflow.telemetry as t; print(t.get_telemetry_client() is None)"
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_DISABLE_TELEMETRY"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "True"
    ran = subprocess.run(
        [sys.executable, "-c", "import os, codeblock.report.mlflow; print(os.environ['MLFLOW_DISABLE_TELEMETRY'])"],
        env={**environment, "MLFLOW_DISABLE_TELEMETRY": "false"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == "false"


def test_a_local_store_keeps_database_and_artifacts_in_the_storage(local_tracker: Tracker, storage: Path) -> None:
    assert (storage / "mlflow.db").is_file()
    experiment = local_tracker.client.get_experiment(local_tracker.experiment_id)
    assert experiment.name == "codeblock"
    assert experiment.artifact_location == (storage / "mlartifacts").as_uri()
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert not list(storage.glob(".*")), "no half-made database stays behind"


def test_a_new_database_has_all_of_mlflows_tables(local_tracker: Tracker, storage: Path) -> None:
    assert local_tracker.uri == f"sqlite:///{storage}/mlflow.db"
    with sqlite3.connect(storage / "mlflow.db") as database:
        tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
    assert {"runs", "metrics", "params", "tags", "experiments", "alembic_version"} <= tables


def test_a_database_that_another_run_makes_meanwhile_is_not_replaced(
    local_tracker: Tracker, storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold that run already."""
    run = local_tracker.start_parent("first", Config(), {})
    real = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path.name != "mlflow.db" and real(path))  # when the other run looked
    late = Tracker(TrackConfig(), storage)
    monkeypatch.undo()
    assert late.client.get_run(run).info.run_name == "first"
    local_tracker.finish(run)
    assert not list(storage.glob(".*"))


def test_connecting_again_finds_the_same_experiment(local_tracker: Tracker, storage: Path) -> None:
    assert connect(TrackConfig(), storage)[1] == local_tracker.experiment_id


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", None), ("codeblock-no-such-host.invalid", 5000)], ids=["closed_port", "no_host"]
)
def test_an_unreachable_server_is_named_in_one_line_at_once(tmp_path: Path, host: str, port: int | None) -> None:
    if port is None:
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
    begin = time.monotonic()
    with pytest.raises(CodeBlockError) as caught:
        connect(TrackConfig(uri=f"http://{host}:{port}"), tmp_path)
    message = str(caught.value)
    assert f"http://{host}:{port}" in message
    assert "track.uri" in message
    assert "\n" not in message
    assert time.monotonic() - begin < 60


def test_the_first_contact_leaves_the_users_patience_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    with pytest.raises(CodeBlockError):
        connect(TrackConfig(uri="http://127.0.0.1:9"), tmp_path)
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "9"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"


def test_a_storage_below_a_file_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a directory")
    with pytest.raises(CodeBlockError, match=r"mlflow\.db.*storage") as caught:
        connect(TrackConfig(), tmp_path / "runs")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_a_read_only_storage_is_named_in_one_line(tmp_path: Path, exists: bool) -> None:
    if exists:
        sqlite3.connect(tmp_path / "mlflow.db").execute("CREATE TABLE t (x)")
        (tmp_path / "mlflow.db").chmod(0o400)
    tmp_path.chmod(0o500)
    with pytest.raises(CodeBlockError, match=r"mlflow\.db.*storage"):
        connect(TrackConfig(), tmp_path)


def test_a_file_that_is_no_database_is_named_without_minutes_of_retries(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database " * 100)
    begin = time.monotonic()
    with pytest.raises(CodeBlockError, match="file is not a database"):
        connect(TrackConfig(), tmp_path)
    assert time.monotonic() - begin < 60


def test_a_file_store_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CodeBlockError, match=r"track\.uri") as caught:
        connect(TrackConfig(uri=str(tmp_path / "mlruns")), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_deleted_experiment_is_not_brought_back_in_silence(local_tracker: Tracker, storage: Path) -> None:
    _, experiment = connect(TrackConfig(experiment="gone"), storage)
    local_tracker.client.delete_experiment(experiment)
    with pytest.raises(CodeBlockError, match=r"'gone': deleted; restore it in the UI or set track\.experiment"):
        connect(TrackConfig(experiment="gone"), storage)


def test_passwords_are_not_printed() -> None:
    assert without_password("postgresql://me:secret@host/db") == "postgresql://host/db"
    assert without_password("sqlite:////a/b.db") == "sqlite:////a/b.db"


def test_only_sqlite_files_have_a_path() -> None:
    assert sqlite_path("sqlite:////a/b.db") == Path("/a/b.db")
    assert sqlite_path("sqlite://") is None
    assert sqlite_path("http://server") is None
