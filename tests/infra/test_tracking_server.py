"""The tracking server as its manifest starts it, on a PostgreSQL of the system and an S3 server on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from tests.conftest import make_model, make_tokenizer
from tests.infra.conftest import INFRA, documents
from tests.ports import free_port

from codeblock.cli.commands import main
from codeblock.core.config import TrackConfig

PASSWORD, BUCKET = "s3cretWord", "codeblock-tracking"
CONFIGS = INFRA.parent / "configs"
pytestmark = pytest.mark.slow


def tool(name: str) -> str:
    """A program of PostgreSQL, which Debian keeps off the path."""
    found = [*sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), *filter(None, [shutil.which(name)])]
    if not found:
        pytest.skip(f"no {name} here; apt-get install postgresql")
    return str(found[-1])


def as_postgres() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    return {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}


@pytest.fixture(scope="module")
def database() -> Iterator[int]:
    """The port of a PostgreSQL with MLflow's database."""
    pytest.importorskip("psycopg")
    port, how = free_port(), as_postgres()
    with tempfile.TemporaryDirectory(prefix="pg") as directory:
        if how:
            shutil.chown(directory, "postgres", "postgres")
        data, word = f"{directory}/data", Path(directory) / "word"
        word.write_text(PASSWORD)
        word.chmod(0o644)
        settings = {"cwd": directory, "capture_output": True, "check": True, **how}
        subprocess.run([tool("initdb"), "-D", data, "-U", "mlflow", "-A", "scram-sha-256", f"--pwfile={word}"], **settings)
        command = [tool("postgres"), "-D", data, "-p", str(port), "-k", directory, "-c", "fsync=off"]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        server = subprocess.Popen(command, cwd=directory, **quiet, **how)
        try:
            ask = [tool("pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
            wait_for(lambda: subprocess.run(ask, capture_output=True).returncode == 0, 120)
            create = [tool("createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow"]
            subprocess.run(create, check=True, capture_output=True, env={**os.environ, "PGPASSWORD": PASSWORD})
            yield port
        finally:
            server.send_signal(signal.SIGINT)  # at SIGTERM it waits until every client has left
            server.wait(timeout=60)


def wait_for(there: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until
        time.sleep(0.2)


@contextmanager
def serving(database: int, artifacts: str, log_file: Path) -> Iterator[str]:
    """The manifest's own command, with this machine's addresses in place of the cluster's."""
    (deployment,) = (each for each in documents(INFRA / "mlflow" / "mlflow.yaml") if each["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    port = free_port()
    given = {"POSTGRES_PASSWORD": PASSWORD, "ARTIFACTS": artifacts}
    arguments = [re.sub(r"\$\((\w+)\)", lambda match: given[match[1]], argument) for argument in container["args"]]
    arguments = [argument.replace("mlflow-postgres:5432", f"127.0.0.1:{database}") for argument in arguments]
    arguments = [argument.replace("5000", str(port)) for argument in arguments]
    environment = {each["name"]: each["value"] for each in container["env"]}
    command = [str(Path(sys.executable).parent / container["command"][0]), *container["command"][1:], *arguments]
    with log_file.open("w") as log:
        server = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: server.poll() is not None or answers(address), 120)
        assert server.poll() is None, log_file.read_text()[-2000:]
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


def answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/health", timeout=5).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def address(database: int, s3_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose runs are in PostgreSQL and whose artifacts are objects below ARTIFACTS."""
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    with serving(database, f"s3://{BUCKET}/mlartifacts", tmp_path_factory.mktemp("server") / "log") as address:
        yield address


def objects() -> dict[str, bytes]:
    """What lies below the place for artifacts, by key."""
    client = boto3.client("s3")
    keys = [each["Key"] for each in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    return {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def rows(database: int, query: str) -> list[Any]:
    import psycopg

    with psycopg.connect(f"postgresql://mlflow:{PASSWORD}@127.0.0.1:{database}/mlflow") as connection:
        return connection.execute(query).fetchall()


def test_runs_are_rows_of_the_database_and_artifacts_objects_of_the_store(address: str, database: int, tmp_path: Path) -> None:
    from codeblock.report.mlflow.store import connect

    client, experiment = connect(TrackConfig(uri=address, experiment="plain"), tmp_path)
    run = client.create_run(experiment).info
    client.log_metric(run.run_id, "pass_at_1", 0.5)
    (tmp_path / "note.txt").write_text("kept")
    client.log_artifact(run.run_id, str(tmp_path / "note.txt"))
    assert {key: content for key, content in objects().items() if run.run_id in key} == {
        f"mlartifacts/{experiment}/{run.run_id}/artifacts/note.txt": b"kept"
    }
    assert rows(database, f"SELECT key, value FROM metrics WHERE run_uuid = '{run.run_id}'") == [("pass_at_1", 0.5)]


def test_strange_hosts_are_turned_away(address: str) -> None:
    port = address.rpartition(":")[2]
    own = ("mlflow", f"mlflow:{port}", "localhost", f"mlflow.codeblock.svc.cluster.local:{port}")
    page = f"{address}/api/2.0/mlflow/experiments/search"
    asked = {host: requests.get(page, headers={"Host": host}, timeout=10) for host in (*own, "evil.example.com")}
    assert {host: answer.status_code == 403 for host, answer in asked.items()} == {
        host: host == "evil.example.com" for host in asked
    }


@pytest.mark.usefixtures("ray_cluster")
def test_a_quickstart_in_small_is_tracked_there(address: str, database: int, tmp_path: Path) -> None:
    """The shipped config, with few pairs and a random model in place of those that it makes, few steps and one task."""
    make_model(tmp_path / "model", len(make_tokenizer(tmp_path / "model")), max_position_embeddings=2048)
    pairs = (
        {"instruction": f"Add {n}.", "output": f"```python\ndef add(a):\n    b = a + {n}\n    return b\n```"} for n in range(40)
    )
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    task = {"task_id": "t", "instruction": "Add.", "entry_point": "f", "test": "assert f(1) == 1", "reference": "f = abs"}
    (tmp_path / "tasks.jsonl").write_text(json.dumps(task) + "\n")
    small = {
        "name": "small",
        "storage": tmp_path / "runs",
        "track.uri": address,
        "track.experiment": "small",
        "model.path": tmp_path / "model",
        "pairs.path": tmp_path / "pairs.jsonl",
        "filter.near_duplicates": "null",
        "arms": "{base: {}, codeblock: {strategy: codeblock}}",
        "train.steps": 2,
        "train.batch_pairs": 4,
        "train.dev_pairs": 4,
        "evaluate.benchmarks": f"{{tiny: {tmp_path}/tasks.jsonl}}",
        "evaluate.max_new_tokens": 4,
    }
    with pytest.raises(SystemExit) as stop:
        main(["run", str(CONFIGS / "quickstart.yaml"), *(f"{key}={value}" for key, value in small.items())])
    assert not stop.value.code

    of_experiment = "FROM runs r JOIN experiments e USING (experiment_id) WHERE e.name = 'small'"
    names = rows(database, f"SELECT r.name, r.status {of_experiment}")
    assert {"base", "codeblock"} <= {name.partition(" ")[0] for name, _ in names}, names
    assert {status for _, status in names} == {"FINISHED"}
    arms = [content for key, content in objects().items() if key.endswith("/arms.md")]
    assert len(arms) == 1
    assert arms[0] == (tmp_path / "runs" / "small" / "arms.md").read_bytes()
