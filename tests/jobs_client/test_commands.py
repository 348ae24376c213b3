"""What a user types and sees, against a real cluster."""

import os
import pty
import re
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow


def id_of(told):
    return re.search(r"^job: (\S+)$", told, re.MULTILINE)[1]


def test_a_config_is_submitted_followed_and_listed(cluster, client, project, tmp_path):
    sent = ["--include", "model", "--include", "pairs.jsonl", "--env", "CLUSTER_SECRET"]
    told = cluster.codeblock("submit", "mine.yaml", f"storage={tmp_path}/runs", "--command", "prepare", *sent, cwd=project)
    assert told.returncode == 0, told.stdout + told.stderr
    id_ = id_of(told.stdout)
    assert f"cluster: {cluster.address} (--address)" in told.stdout
    assert f"dashboard: {cluster.address}/#/jobs/{id_}" in told.stdout
    assert "rows: 6 read = 6 kept + 0 rejected + 0 filtered" in told.stdout
    assert told.stderr.endswith(f"job {id_}: SUCCEEDED\n")
    assert list((tmp_path / "runs" / "cache").glob("prepared-*/_complete.json"))

    job = client.get_job_info(id_)
    assert job.runtime_env["env_vars"]["CLUSTER_SECRET"] == "${CLUSTER_SECRET}"
    assert "from the cluster" not in str(job)
    assert job.metadata["config"] == "mine"
    assert len(job.metadata["commit"]) >= 40

    listed = cluster.codeblock("jobs", cwd=project).stdout
    assert re.search(rf"^{id_}\s+SUCCEEDED\s+0\s+prepare\s+mine\s", listed, re.MULTILINE)
    again = cluster.codeblock("logs", id_, "--no-follow", cwd=project)
    assert "rows: 6 read" in again.stdout


def test_a_job_without_its_secret_says_so_in_one_line(cluster, project):
    told = cluster.codeblock(
        "submit", "mine.yaml", "storage=/shared", "model.path=/m", "pairs.path=/p", "--env", "ABSENT", cwd=project
    )
    assert told.returncode == 1
    assert "error: the cluster has no value for ABSENT, which --env forwards; set it" in told.stdout
    assert "Traceback" not in told.stdout + told.stderr


def test_a_dry_run_sends_nothing(project):
    command = [sys.executable, "-m", "codeblock", "submit", "mine.yaml", "storage=/shared", "--dry-run"]
    asked = [*command, "--include", "model", "--include", "pairs.jsonl", "--env", "HF_TOKEN", "--address", "http://127.0.0.1:9"]
    told = subprocess.run(asked, cwd=project, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "command:  python -m codeblock run mine.yaml storage=/shared\n" in told.stdout
    assert re.search(r"^sends:    codeblock, 1\.\d\d MiB$", told.stdout, re.MULTILINE)
    assert "sets:     HF_TOKEN=${HF_TOKEN}" in told.stdout
    assert told.stdout.endswith("nothing was sent (--dry-run)\n")


def interrupt_and_answer(cluster, project, tmp_path, answer):
    """Submit in a terminal, press Ctrl-C once the job is there, and type the answer; the output and the exit status."""
    options = ["--include", "model", "--include", "pairs.jsonl"]
    command = [sys.executable, "-m", "codeblock", "submit", "mine.yaml", f"storage={tmp_path}/runs", *options]
    near, far = pty.openpty()
    asked = subprocess.Popen(
        [*command, "--address", cluster.address],
        cwd=project,
        env=cluster.environment,
        stdin=far,
        stdout=far,
        stderr=far,
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )
    os.close(far)
    told = b""

    def read_until(mark):
        nonlocal told
        until = time.monotonic() + 90
        while mark not in told and time.monotonic() < until:
            told += os.read(near, 4096)

    read_until(b"pairs  ")  # the job's first line of its own: its driver is up and MLflow's run is open
    os.write(near, b"\x03")
    read_until(b"[l] ")
    os.write(near, answer + b"\n")
    code = asked.wait(timeout=60)
    while True:
        try:
            told += os.read(near, 65536)
        except OSError:
            break
    os.close(near)
    return told.decode(), code


def test_ctrl_c_asks_and_a_stopped_job_leaves_its_mlflow_run_killed(cluster, client, project, tmp_path):
    told, code = interrupt_and_answer(cluster, project, tmp_path, b"s")
    assert code == 130
    id_ = id_of(told.replace("\r", ""))
    assert client.get_job_info(id_).status.value == "STOPPED"
    assert f"job {id_}: STOPPED" in told

    import mlflow

    runs = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db").search_runs(["1"])
    assert runs
    assert {run.info.status for run in runs} == {"KILLED"}


def test_ctrl_c_can_leave_the_job_and_stop_ends_it(cluster, client, project, tmp_path):
    told, code = interrupt_and_answer(cluster, project, tmp_path, b"l")
    assert code == 0
    id_ = id_of(told.replace("\r", ""))
    assert f"`codeblock logs {id_}` follows it" in told
    assert not client.get_job_info(id_).status.is_terminal()
    assert f"job {id_}: STOPPED" in cluster.codeblock("stop", id_, cwd=project).stdout
    assert cluster.codeblock("logs", id_, cwd=project).returncode == 130
