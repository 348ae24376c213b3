"""A job is followed to its end on a real cluster: each line once, its own exit status, whatever breaks in between."""

import asyncio
import os
import signal
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
from tests.cli.jobs.cutting_proxy import cutting

from codeblock.cli.jobs.address import connect
from codeblock.cli.jobs.follow import STOPPED, Lines, exit_code, follow, listed, stop
from codeblock.core.errors import CodeBlockError


def lines_of(*pieces):
    said = []
    lines = Lines(said.append)
    for piece in pieces:
        if piece is None:
            lines.restart()
        else:
            lines.add(piece)
    lines.end()
    return said


def test_pieces_become_whole_lines():
    assert lines_of("a\nb", "c\n", "\nd") == ["a", "bc", "", "d"]


def test_what_was_said_is_not_said_again():
    assert lines_of("one\ntw", None, "one\n", "two\nth", None, "one\ntwo\nthree\n") == ["one", "two", "three"]


def test_a_piece_may_begin_before_and_end_behind_what_was_said():
    assert lines_of("ab", None, "a", "bc\nd\n") == ["abc", "d"]


slow = pytest.mark.slow


@slow
@pytest.mark.parametrize(("command", "code"), [("true", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_status_is_the_driver_s(cluster, client, command, code):
    assert cluster.run(client, f"echo said; {command}", (said := []).append) == code
    assert "said" in said


@slow
def test_a_log_that_is_cut_off_is_taken_up_again_without_a_line_twice_or_missing(cluster, client):
    count = "python -uc 'import time\nfor n in range(60): print(\"line\", n, flush=True); time.sleep(0.1)'; printf end; exit 3"
    with cutting(cluster.address, cut_after=700, cuts=2) as proxy:
        said, notes = [], []
        cut = connect(proxy.address)
        id_ = cut.submit_job(entrypoint=count)
        job = follow(cut, id_, proxy.address, Lines(said.append), notes.append)
        assert proxy.cuts == 2
    assert [line for line in said if line.startswith("line ")] == [f"line {n}" for n in range(60)]
    assert said[-1] == "end"
    assert exit_code(job) == 3


@slow
def test_a_stopped_job_ends_in_order_and_has_a_status_of_its_own(cluster, client):
    tidy = "signal.signal(15, lambda *_: (print('tidy'), sys.exit(1))); print('up'); time.sleep(99)"
    id_ = client.submit_job(entrypoint=f'python -uc "import signal, sys, time; {tidy}"')
    said = []

    def stop_when_up():
        while "up" not in said:
            time.sleep(0.1)
        stop(client, id_, cluster.address)

    stopper = threading.Thread(target=stop_when_up)
    stopper.start()
    job = follow(client, id_, cluster.address, Lines(said.append))
    stopper.join()
    # Ray's own lines in the same log come, on a busy machine, after the command's first words.
    assert [line for line in said if line in ("up", "tidy")] == ["up", "tidy"]
    assert said[-1] == "tidy"
    assert exit_code(job) == STOPPED == 130
    assert exit_code(stop(client, id_, cluster.address)) == 130  # once more does no harm
    assert listed(client, cluster.address)[-1].submission_id == id_


@slow
def test_a_job_that_never_had_a_process_fails_with_1(cluster, client):
    id_ = client.submit_job(entrypoint="true", runtime_env={"working_dir": "gcs://_ray_pkg_0123456789abcdef.zip"})
    job = follow(client, id_, cluster.address, Lines())
    assert (job.status.value, job.driver_exit_code, exit_code(job)) == ("FAILED", None, 1)


@slow
def test_a_log_that_cannot_be_read_is_told_and_the_exit_status_stays(cluster, client, monkeypatch):
    monkeypatch.setattr("codeblock.cli.jobs.follow.REST_TRIES", 2)
    id_ = client.submit_job(entrypoint="printf '\\377\\n'; exit 4")  # no UTF-8, and Ray's server reads nothing else
    notes = []
    job = follow(client, id_, cluster.address, Lines(), notes.append)
    assert exit_code(job) == 4
    assert notes[-1].startswith("the end of its log cannot be read (")
    assert notes[-1].endswith(f"); the cluster keeps it as logs/job-driver-{id_}.log")


class Deaf:
    """A client whose stream takes a Ctrl-C for nothing, as connections may that are just being made."""

    def get_job_info(self, _):
        return SimpleNamespace(status=SimpleNamespace(value="RUNNING", is_terminal=lambda: False))

    async def tail_job_logs(self, _):
        for number in range(1000):
            if number == 1:
                os.kill(os.getpid(), signal.SIGINT)
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
            yield f"line {number}\n"


def test_a_ctrl_c_that_was_lost_is_heeded_with_the_next_line():
    said = []
    with pytest.raises(KeyboardInterrupt):
        follow(Deaf(), "mine", "here", Lines(said.append))
    assert said == ["line 0", "line 1"]


@slow
def test_an_unknown_job_is_one_line(cluster, client):
    with pytest.raises(CodeBlockError, match=r"^job nobody-1: there is none on here; `codeblock jobs` lists them$"):
        follow(client, "nobody-1", "here", Lines())
    whole = client.submit_job(entrypoint="true", submission_id="jane-quickstart-1")
    with pytest.raises(CodeBlockError, match=rf"^job jane-quick: there is none on here; did you mean {whole}\?$"):
        follow(client, "jane-quick", "here", Lines())
