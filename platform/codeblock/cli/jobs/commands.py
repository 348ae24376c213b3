"""`codeblock submit`, `jobs`, `logs` and `stop`. Imports nothing heavy: the command line reads it for its help."""

from __future__ import annotations

import shlex
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from codeblock.core.console import errors, say
from codeblock.core.errors import CodeBlockError
from codeblock.core.signals import came
from codeblock.core.storage.places import file_path

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

    from codeblock.cli.jobs.package import Parcel
    from codeblock.cli.jobs.submission import Submission

NEEDS_NO_CLUSTER = ("submit", "jobs", "logs", "stop", "doctor", "ui", "models", "benchmark-env", "inspect")

HEADINGS = ["id", "state", "exit", "command", "config", "user", "started", "took", "commit"]
QUESTION = "\nCtrl-C: [s]top the job, [l]eave it running, or [g]o on following? [l] "

Address = Annotated[str | None, typer.Option(help="The head's dashboard, such as http://HEAD:8265.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="Id of the job, as `codeblock jobs` lists it.")]


def submit(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="YAML file on this machine; it is sent along.", callback=file_path)
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as storage=/shared/runs.")
    ] = None,
    address: Address = None,
    command: Annotated[str, typer.Option(help="What to run there, with its options: run, score, 'run --plan', ...")] = "run",
    include: Annotated[list[Path] | None, typer.Option(help="File or directory to send along; may be repeated.")] = None,
    env: Annotated[
        list[str] | None, typer.Option(help="NAME: the cluster's own value (for secrets); NAME=VALUE: sent. May be repeated.")
    ] = None,
    secret_values: Annotated[
        bool, typer.Option("--secret-values", help="Let --env send values that look like secrets; others can read them back.")
    ] = False,
    driver_cpus: Annotated[
        float, typer.Option(min=0, help="CPUs that the job's own process takes; 0: it runs on the head.")
    ] = 0,
    driver_resource: Annotated[
        str | None, typer.Option(help="Custom resource of the nodes on which the job's own process may run.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow the log.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and stop.")] = False,
) -> None:
    """Run a config as a job on a Ray cluster, and follow it; exits with the job's own status (130 where it was stopped)."""
    from codeblock.cli.jobs.address import address_and_why
    from codeblock.cli.jobs.environment import job_environment, untracked
    from codeblock.cli.jobs.package import pack
    from codeblock.cli.jobs.places import check_homes, check_output, check_places
    from codeblock.cli.jobs.submission import Driver, plan_submission
    from codeblock.core.config.file import load_config

    words, paths = command_words(command), include or []
    settings = load_config(config, overrides or [])
    check_places(settings, paths)
    check_homes(config, overrides or [])
    check_output(words)
    environment = job_environment(env or [], secret_values)
    if (note := untracked(settings.track.uri, environment)) is not None:
        say(note)
    _, where = address_and_why(address)
    with tempfile.TemporaryDirectory() as scratch:
        parcel = pack(config, paths, Path(scratch))
        driver = Driver(driver_cpus, driver_resource)
        submission = plan_submission(settings, words, overrides or [], parcel, environment, driver)
        if dry_run:
            _show(submission, parcel, where)
            return
        client, id_ = _send(submission, parcel, address, where)
    if detach:
        say(f"`codeblock logs {id_}` follows it, `codeblock stop {id_}` stops it")
        return
    _follow_and_exit(client, id_, where)


def jobs(address: Address = None) -> None:
    """List the jobs that the cluster knows, the newest last."""
    from codeblock.cli.jobs.address import address_and_why, connect
    from codeblock.cli.jobs.follow import listed

    client, (_, where) = connect(address), address_and_why(address)
    found = listed(client, where)
    say(f"cluster: {where}")
    if not found:
        say("no job was submitted there")
        return
    rows = [HEADINGS, *(_row(job) for job in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:  # whole, however narrow the terminal is: ids are there to be copied
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def logs(
    id_: JobId,
    address: Address = None,
    no_follow: Annotated[bool, typer.Option("--no-follow", help="Print what there is, and stop.")] = False,
) -> None:
    """Print a job's log and follow it to its end; exits with the job's own status (130 where it was stopped)."""
    from codeblock.cli.jobs.address import address_and_why, connect, one_line
    from codeblock.cli.jobs.follow import details, write

    client, (_, where) = connect(address), address_and_why(address)
    if not no_follow:
        _follow_and_exit(client, id_, where)
    details(client, id_, where)
    with one_line(where):
        log = client.get_job_logs(id_)
    write(log)


def stop(id_: JobId, address: Address = None) -> None:
    """Stop a job: SIGTERM, and SIGKILL after 3 seconds; what it had finished stays."""
    from codeblock.cli.jobs.address import address_and_why, connect
    from codeblock.cli.jobs.follow import details
    from codeblock.cli.jobs.follow import stop as stop_job

    client, (_, where) = connect(address), address_and_why(address)
    before = details(client, id_, where)
    if before.status.is_terminal():
        say(f"job {id_}: {before.status.value}; it had ended before")
        return
    job = stop_job(client, id_, where)
    again = "; submit it again to go on from what it had finished" if job.status.value == "STOPPED" else ""
    say(f"job {id_}: {job.status.value}{again}")


def add_to(app: typer.Typer) -> None:
    """Put the commands into the application."""
    app.command(epilog="Example: `codeblock submit configs/quickstart.yaml storage=/shared/runs --address http://HEAD:8265`")(
        submit
    )
    app.command(epilog="Example: `codeblock jobs --address http://HEAD:8265`")(jobs)
    app.command(epilog="Example: `codeblock logs jane-quickstart-20261126-220514`")(logs)
    app.command(epilog="Example: `codeblock stop jane-quickstart-20261126-220514`")(stop)


def command_words(asked: str) -> list[str]:
    """The words of `--command`, the first one a command of this program that reads a config."""
    from codeblock.cli.commands import app

    words = shlex.split(asked)
    known = [(each.name or each.callback.__name__.replace("_", "-")) for each in app.registered_commands if each.callback]
    allowed = [name for name in known if name not in NEEDS_NO_CLUSTER]
    if not words or words[0] not in allowed:
        raise CodeBlockError(f"--command {asked!r}: no command for a cluster; there are {', '.join(allowed)}")
    return words


def _show(submission: Submission, parcel: Parcel, where: str) -> None:
    say(f"cluster:  {where}")
    say(f"job:      {submission.id}")
    say(f"command:  {submission.entrypoint}")
    for what, size in parcel.sizes.items():
        say(f"sends:    {what}, {size / 2**20:.2f} MiB")
    for name, value in submission.runtime_env.get("env_vars", {}).items():
        say(f"sets:     {name}={value}")
    for name, value in submission.metadata.items():
        say(f"says:     {name}={value}")
    say("nothing was sent (--dry-run)")


def _send(submission: Submission, parcel: Parcel, address: str | None, where: str) -> tuple[JobSubmissionClient, str]:
    from codeblock.cli.jobs.address import connect
    from codeblock.cli.jobs.submission import send

    client = connect(address)
    say(f"cluster: {where}")
    say(f"sending {sum(parcel.sizes.values()) / 2**20:.1f} MiB")
    id_ = send(client, submission, where)
    say(f"job: {id_}")
    say(f"dashboard: {client.get_address()}/#/jobs/{id_}")
    return client, id_


def _follow_and_exit(client: JobSubmissionClient, id_: str, where: str) -> None:
    from codeblock.cli.jobs.follow import Lines, exit_code, follow

    def note(line: str) -> None:
        errors.print(escape(f"{id_}: {line}"), soft_wrap=True)

    lines = Lines()
    while True:
        try:
            job = follow(client, id_, where, lines, note)
        except KeyboardInterrupt:
            _interrupted(client, id_, where)
            continue
        _say_end(job, id_)
        sys.exit(exit_code(job))  # not by typer: 130 would look as if this command had been interrupted


def _interrupted(client: JobSubmissionClient, id_: str, where: str) -> None:
    """Ask what Ctrl-C was meant for; without a terminal, and where this command is ended in another way, the job is left.

    Exit status 0 is for the user who chose to leave it: whoever reads it else takes the job for done.
    """
    from codeblock.cli.jobs.follow import stop as stop_job

    answer, asked = "l", sys.stdin.isatty() and came() is None
    if asked:
        try:
            answer = input(QUESTION).strip().lower()[:1] or "l"
        except (EOFError, KeyboardInterrupt):
            answer = "l"
    if answer == "s":
        stop_job(client, id_, where)
    elif answer != "g":
        say(f"job {id_} goes on; `codeblock logs {id_}` follows it, `codeblock stop {id_}` stops it")
        if asked:
            sys.exit(0)
        raise KeyboardInterrupt


def _say_end(job: JobDetails, id_: str) -> None:
    state = job.status.value
    said = f"job {id_}: {state}"
    if state == "FAILED" and job.driver_exit_code is None:  # it never had a process of its own; the log says nothing of it
        said += f" ({_last_words(job.message)})"
    elif job.driver_exit_code:
        said += f", exit status {job.driver_exit_code}"
    errors.print(escape(said), soft_wrap=True)


def _last_words(message: str | None) -> str:
    lines = [line.strip() for line in (message or "no reason is known").splitlines() if line.strip()]
    return lines[-1][:300]


def _row(job: Any) -> list[str]:
    metadata = job.metadata or {}
    started = datetime.fromtimestamp(job.start_time / 1000) if job.start_time else None
    ended = datetime.fromtimestamp(job.end_time / 1000) if job.end_time else None
    return [
        job.submission_id,
        job.status.value,
        "" if job.driver_exit_code is None else str(job.driver_exit_code),
        *(metadata.get(key, "") for key in ("command", "config", "user")),
        f"{started:%Y-%m-%d %H:%M:%S}" if started else "",
        f"{((ended or datetime.now()) - started).total_seconds():.0f} s" if started else "",
        _short(metadata.get("commit", "")),
    ]


def _short(commit: str) -> str:
    head, plus, _ = commit.partition("+")
    return head[:12] + plus
