"""Follow a job to its end: its log as lines, each once, however often the stream breaks off.

Ray's stream can end while the job runs (a proxy's time-out, a head that is busy), and a new one begins at the log's first
character. So characters are counted, a stream is taken up again until the job's state is terminal, and what a broken one
has kept back is read in one piece at the end.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from codeblock.cli.jobs.address import last_line, one_line
from codeblock.core.errors import CodeBlockError

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

STOPPED = 130
"""Exit status for a job that was stopped, as after Ctrl-C; Ray has none for it."""
LOST_SECONDS = 300.0
"""How long a cluster may be out of reach."""
SILENT_SECONDS = 120.0
"""After so long without a line the stream is taken up anew: a connection that a router forgot tells nothing of it."""
PAUSE_SECONDS = 1.0
REST_TRIES = 10
"""A log that cannot be read so often is given up once its job has ended: its node may be gone with it."""

Say = Callable[[str], None]


def say_line(line: str) -> None:
    """A line of the job on standard output, at once."""
    write(f"{line}\n")


def write(text: str) -> None:
    """Text on standard output, at once. Ends the process without a word where nobody reads any more, as behind `| head`."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        sys.exit(1)


class Lines:
    """Text of a log that comes in pieces, some of them again, as lines that come once."""

    def __init__(self, say: Say = say_line) -> None:
        self._say = say
        self._seen = 0
        self._at = 0
        self._rest = ""

    def restart(self) -> None:
        """The next piece begins at the log's first character."""
        self._at = 0

    def add(self, text: str) -> None:
        """The next piece."""
        new = text[max(0, self._seen - self._at) :]
        self._at += len(text)
        self._seen = max(self._seen, self._at)
        *whole, self._rest = (self._rest + new).split("\n")
        for line in whole:
            self._say(line)

    def end(self) -> None:
        """There is no more; a last line may lack its newline."""
        if self._rest:
            self._say(self._rest)
        self._rest = ""


def follow(client: JobSubmissionClient, id_: str, where: str, lines: Lines, note: Say = say_line) -> JobDetails:
    """Hand each line of a job's log to `lines` until the job has ended, and return what the cluster then knows of it.

    The same `lines` in another call go on where they were. `note` is told of what is no line of the log: that the job waits,
    and why; that the connection was lost. Raises CodeBlockError for an unknown job, and where the cluster is out of reach for
    LOST_SECONDS; the job may then go on.
    """
    details(client, id_, where)  # an unknown job is an error at once
    return asyncio.run(_Follower(client, id_, where, lines, note).run())


class UnknownJobError(CodeBlockError):
    """The cluster knows no job of this id: it never did, or it is another cluster by now."""


def exit_code(job: JobDetails) -> int:
    """The driver's own exit status; STOPPED for a stopped job, 1 where it failed before it had one."""
    code = job.driver_exit_code
    state = job.status.value
    if state == "SUCCEEDED":
        return 0
    if state == "STOPPED":
        return STOPPED
    if not code:
        return 1
    return 128 - code if code < 0 else int(code)


def details(client: JobSubmissionClient, id_: str, where: str) -> JobDetails:
    """What the cluster knows of a job. Raises CodeBlockError where it knows none of this id."""
    try:
        with one_line(where):
            return client.get_job_info(id_)
    except CodeBlockError as error:
        if "does not exist" in str(error):
            near = [job.submission_id for job in listed(client, where) if id_ in job.submission_id]
            hint = f"did you mean {near[-1]}?" if near else "`codeblock jobs` lists them"
            raise UnknownJobError(f"job {id_}: there is none on {where}; {hint}") from error
        raise


class _Follower:
    def __init__(self, client: JobSubmissionClient, id_: str, where: str, lines: Lines, note: Say) -> None:
        self._client = client
        self._id = id_
        self._where = where
        self._lines = lines
        self._note = note
        self._heard = time.monotonic()
        self._tries = 0

    async def run(self) -> JobDetails:
        waited = ""
        for pause in _pauses():
            _heed_interrupt()
            try:
                job = await asyncio.to_thread(details, self._client, self._id, self._where)
                self._heard = time.monotonic()
                if job.status.value == "PENDING":
                    waited = self._tell_of_waiting(job, waited)
                elif job.status.is_terminal():
                    if await self._rest():
                        return job
                else:
                    await self._stream()
            except UnknownJobError:
                raise
            except Exception as error:
                self._lost(error)
            await asyncio.sleep(pause)
        raise AssertionError  # the pauses never end

    async def _stream(self) -> None:
        self._lines.restart()
        pieces = self._client.tail_job_logs(self._id)
        try:
            while True:
                async with asyncio.timeout(SILENT_SECONDS):  # Python 3.11's wait_for can lose a Ctrl-C
                    piece = await anext(pieces)
                self._lines.add(piece)
                _heed_interrupt()
                self._heard = time.monotonic()
        except (StopAsyncIteration, TimeoutError):
            pass
        finally:
            await pieces.aclose()

    async def _rest(self) -> bool:
        """What the stream has not brought of an ended job's log; False where it is worth another try."""
        try:
            log = await asyncio.to_thread(self._client.get_job_logs, self._id)
        except Exception as error:
            self._tries += 1
            if self._tries < REST_TRIES:
                return False
            self._lines.end()
            why = last_line(error)
            self._note(f"the end of its log cannot be read ({why}); the cluster keeps it as logs/job-driver-{self._id}.log")
            return True
        self._lines.restart()
        self._lines.add(log)
        self._lines.end()
        return True

    def _tell_of_waiting(self, job: JobDetails, told: str) -> str:
        said = " ".join(str(job.message or "it waits to be started").split())
        if said != told:
            self._note(f"pending: {said}")
        return said

    def _lost(self, error: Exception) -> None:
        silent = time.monotonic() - self._heard
        if silent > LOST_SECONDS:
            raise CodeBlockError(
                f"cluster {self._where}: out of reach for {silent:.0f} s; the job may go on, `codeblock logs {self._id}` takes "
                "its log up again"
            ) from error
        if silent > 5 * PAUSE_SECONDS:
            self._note(f"connection lost ({type(error).__name__}); trying again")


def _heed_interrupt() -> None:
    """Raise for a Ctrl-C that came and was lost: it cancels what is awaited, and not every library hands that on."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _pauses() -> Iterator[float]:
    """Short at first, for a job of seconds, then one every second."""
    yield from (PAUSE_SECONDS / 5,) * 5
    while True:
        yield PAUSE_SECONDS


def stop(client: JobSubmissionClient, id_: str, where: str, seconds: float = 30.0) -> JobDetails:
    """Stop a job and wait until it has ended: its driver gets SIGTERM, and SIGKILL after 3 s (`RAY_JOB_STOP_WAIT_TIME_S`).

    A job that has ended already is returned as it is. Raises CodeBlockError for an unknown job, and for one that is still
    there after `seconds`.
    """
    job = details(client, id_, where)
    until = time.monotonic() + seconds
    if not job.status.is_terminal():
        with one_line(where):
            client.stop_job(id_)
    while not job.status.is_terminal():
        if time.monotonic() > until:
            raise CodeBlockError(f"job {id_}: still {job.status.value} {seconds:.0f} s after it was told to stop; try again")
        time.sleep(PAUSE_SECONDS / 5)
        job = details(client, id_, where)
    return job


def listed(client: JobSubmissionClient, where: str) -> list[Any]:
    """All submitted jobs that the cluster knows, the newest last."""
    with one_line(where):
        jobs = [job for job in client.list_jobs() if job.submission_id]
    return sorted(jobs, key=lambda job: job.start_time or 0)
