"""What a user types and sees, against a real cluster."""

import os
import pty
import re
import select
import signal
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
    assert list((tmp_path / "runs" / "cache").glob("segmented-*/_complete.json"))

    job = client.get_job_info(id_)
    assert job.runtime_env["env_vars"]["CLUSTER_SECRET"] == "${CLUSTER_SECRET}"
    assert "from the cluster" not in str(job)
    assert job.metadata["config"] == "mine"
    assert len(job.metadata["commit"]) >= 40

    listed = cluster.codeblock("jobs", cwd=project).stdout
    assert re.search(rf"^{id_}\s+SUCCEEDED\s+0\s+prepare\s+mine\s", listed, re.MULTILINE)
    again = cluster.codeblock("logs", id_, "--no-follow", cwd=project)
    assert "rows: 6 read" in again.stdout


def test_a_job_that_was_left_without_its_secret_says_so_in_one_line_of_its_log(cluster, project):
    given = ["storage=/shared", "model.path=/m", "pairs.path=/p", "--env", "ABSENT", "--detach"]
    left = cluster.codeblock("submit", "mine.yaml", *given, cwd=project)
    id_ = id_of(left.stdout)
    assert (left.returncode, left.stdout.splitlines()[-1]) == (
        0,
        f"`codeblock logs {id_}` follows it, `codeblock stop {id_}` stops it",
    )
    told = cluster.codeblock("logs", id_, cwd=project)
    assert told.returncode == 1
    assert "error: the cluster has no value for ABSENT, which --env forwards; set it" in told.stdout
    assert "Traceback" not in told.stdout + told.stderr


def test_a_wrong_token_says_what_to_set(cluster, project):
    told = cluster.codeblock("jobs", cwd=project, RAY_AUTH_TOKEN="wrong" * 8)
    assert told.returncode == 1
    assert "refuses the token that is set here; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" in told.stderr
    absent = cluster.codeblock("jobs", cwd=project, RAY_AUTH_MODE="disabled")
    assert "asks for its token; set RAY_AUTH_MODE=token" in absent.stderr


def test_a_dry_run_sends_nothing(project):
    command = [sys.executable, "-m", "codeblock", "submit", "mine.yaml", "storage=/shared", "--dry-run"]
    asked = [*command, "--include", "model", "--include", "pairs.jsonl", "--env", "HF_TOKEN", "--address", "http://127.0.0.1:9"]
    told = subprocess.run(asked, cwd=project, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "command:  python -m codeblock run mine.yaml storage=/shared\n" in told.stdout
    assert re.search(r"^sends:    codeblock, 1\.\d\d MiB$", told.stdout, re.MULTILINE)
    assert "sets:     HF_TOKEN=${HF_TOKEN}" in told.stdout
    assert told.stdout.endswith("nothing was sent (--dry-run)\n")


class Terminal:
    """The command line in a terminal of its own, as a user has it."""

    def __init__(self, command, **how):
        self._near, far = pty.openpty()
        taking_it = "import os, sys, fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
        wrapped = [sys.executable, "-c", taking_it, *command]
        self._process = subprocess.Popen(wrapped, stdin=far, stdout=far, stderr=far, start_new_session=True, **how)
        os.close(far)
        self.told = ""

    def read_until(self, mark, seconds=300):
        until = time.monotonic() + seconds
        while mark not in self.told:
            assert time.monotonic() < until, self.told
            if select.select([self._near], [], [], 1)[0]:
                self.told += self._read()

    def type(self, text):
        os.write(self._near, text.encode())

    def end(self):
        code = self._process.wait(timeout=200)
        while more := self._read():
            self.told += more
        os.close(self._near)
        return code

    def _read(self):
        try:
            return os.read(self._near, 65536).decode().replace("\r", "")
        except OSError:  # the other side has ended
            return ""


def test_ctrl_c_leaves_the_job_or_stops_it_and_then_its_mlflow_run_is_killed(cluster, client, project, tmp_path):
    command = [sys.executable, "-m", "codeblock"]
    sent = ["mine.yaml", f"storage={tmp_path}/runs", "train.steps=100000", "--include", "model", "--include", "pairs.jsonl"]
    first = Terminal([*command, "submit", *sent, "--address", cluster.address], cwd=project, env=cluster.environment)
    first.read_until("pairs  ")  # the job's first line of its own: MLflow's run is open
    first.type("\x03")
    first.read_until("[l] ")
    first.type("l\n")
    assert first.end() == 0
    id_ = id_of(first.told)
    assert f"`codeblock logs {id_}` follows it" in first.told
    assert not client.get_job_info(id_).status.is_terminal()

    second = Terminal([*command, "logs", id_, "--address", cluster.address], cwd=project, env=cluster.environment)
    second.read_until("pairs  ")
    second.type("\x03")
    second.read_until("[l] ")
    second.type("s\n")
    assert second.end() == 130
    assert f"job {id_}: STOPPED" in second.told
    assert second.told.count("pairs                        ...") == 1
    assert f"job {id_}: STOPPED" in cluster.codeblock("stop", id_, cwd=project).stdout

    import mlflow

    runs = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db").search_runs(["1"])
    assert {run.info.status for run in runs} == {"KILLED"}


def test_following_ends_by_itself_where_nobody_reads_or_the_command_is_ended_and_the_job_goes_on(cluster, client, project):
    id_ = client.submit_job(entrypoint="while true; do echo line; sleep 0.05; done")
    while client.get_job_status(id_) == "PENDING":  # which would be told
        time.sleep(0.1)
    asked = [sys.executable, "-m", "codeblock", "logs", id_, "--address", cluster.address]
    how = {"cwd": project, "env": cluster.environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    read = subprocess.Popen(asked, **how)
    while read.stdout.readline() != "line\n":
        pass
    read.stdout.close()  # as `| head -1` does
    assert (read.wait(200), read.stderr.read()) == (1, "")
    for number, status, told in ((signal.SIGTERM, 143, "ended by SIGTERM\n"), (signal.SIGINT, 130, "interrupted\n")):
        following = subprocess.Popen(asked, stdin=subprocess.DEVNULL, **how)
        while following.stdout.readline() != "line\n":
            pass
        following.send_signal(number)
        out, err = following.communicate(timeout=200)
        assert (following.returncode, err) == (status, told)
        assert out.endswith(f"job {id_} goes on; `codeblock logs {id_}` follows it, `codeblock stop {id_}` stops it\n")
    stopped = cluster.codeblock("stop", id_, cwd=project)
    assert stopped.stdout == f"job {id_}: STOPPED; submit it again to go on from what it had finished\n"
    assert cluster.codeblock("stop", id_, cwd=project).stdout == f"job {id_}: STOPPED; it had ended before\n"
    assert cluster.codeblock("logs", id_, cwd=project).stderr == f"job {id_}: STOPPED\n"


def test_doctor_looks_from_the_cluster_and_each_red_line_has_its_remedy(cluster, project, tmp_path):
    sent = ["--include", "model", "--include", "pairs.jsonl"]
    told = cluster.codeblock("doctor", "mine.yaml", f"storage={tmp_path}/runs", "cluster.train_workers=3", *sent, cwd=project)
    lines = dict(re.findall(r"^(?:ok  |FAIL) (\S+(?: \S+)?) +(.+)$", told.stdout, re.MULTILINE))
    failed = re.findall(r"^FAIL (\S+) +(.+)$", told.stdout, re.MULTILINE)
    assert failed == [
        (
            "resources",
            "train: 3 x 1 CPU asked, the cluster has 1 CPU; lower cluster.train_workers, cluster.actors, "
            "cluster.cpus_per_worker or cluster.gpus_per_worker",
        )
    ], told.stdout + told.stderr
    assert told.returncode == 1
    assert lines["same versions"] == "2 sides agree"
    assert re.search(r"^ok   node \S+ \(\S+\) reads and writes the storage; ", told.stdout, re.MULTILINE)
    assert "INFO" not in told.stdout
    assert len(told.stdout.splitlines()) < 25
