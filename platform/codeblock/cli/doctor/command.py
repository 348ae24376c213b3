"""`codeblock doctor`. Imports nothing heavy: the command line reads it for its help."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from codeblock.core.console import console, say
from codeblock.core.storage.places import place_of

if TYPE_CHECKING:
    from codeblock.cli.doctor.machine import Check
    from codeblock.core.config import Config

_OF_RAY = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+\s+(INFO|WARNING)\b|Running entrypoint for job ")


def doctor(
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="YAML file whose needs are checked too.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as train.steps=200.")] = None,
    storage: Annotated[str, typer.Option(help="Storage to check where no CONFIG is given, a directory or a URL.")] = "runs",
    address: Annotated[str | None, typer.Option(help="Check on a cluster: its dashboard, http://HEAD:8265.")] = None,
    include: Annotated[list[Path] | None, typer.Option(help="As of `codeblock submit`; may be repeated.")] = None,
) -> None:
    """Check what would stop a run, on this machine or on every node of a cluster. Each red line has its remedy."""
    if config is None:
        from codeblock.cli.doctor.machine import checks

        _print(checks(place_of(storage)))
        return
    from codeblock.core.config.file import load_config

    settings = load_config(config, overrides or [])
    from codeblock.cli.jobs.address import told_dashboard

    if dashboard := address or told_dashboard():
        _ask_cluster(config, settings, overrides or [], dashboard, include or [])
        return
    from codeblock.cli.doctor.config import config_checks

    _print(config_checks(settings))


def add_doctor(app: typer.Typer) -> None:
    """Put the command into the application."""
    examples = "Examples: `codeblock doctor`, `codeblock doctor configs/quickstart.yaml --address http://HEAD:8265`"
    app.command(epilog=examples)(doctor)


def _print(found: Sequence[Check]) -> None:
    for check in found:
        mark = "[green]ok[/green]  " if check.ok else "[red]FAIL[/red]"
        console.print(f"{mark} {escape(f'{check.name:<15}')} {escape(check.detail)}", soft_wrap=True)
    if not all(check.ok for check in found):
        raise typer.Exit(1)


def _ask_cluster(path: Path, config: Config, overrides: Sequence[str], address: str, include: Sequence[Path]) -> None:
    """The same command as a job, so that it sees what a run there would see; its lines and its exit status."""
    from codeblock.cli.doctor.config import CALLER
    from codeblock.cli.doctor.nodes import versions
    from codeblock.cli.jobs.address import address_and_why, connect
    from codeblock.cli.jobs.follow import Lines, exit_code, follow, stop
    from codeblock.cli.jobs.package import pack
    from codeblock.cli.jobs.places import check_places
    from codeblock.cli.jobs.submission import plan_submission, send

    check_places(config, include)
    _, where = address_and_why(address)
    client = connect(address)
    say(f"cluster: {where}")
    environment = {CALLER: json.dumps(versions())}
    with tempfile.TemporaryDirectory() as scratch:
        parcel = pack(path, include, Path(scratch))
        id_ = send(client, plan_submission(config, ["doctor"], overrides, parcel, environment), where)
    try:
        job = follow(client, id_, where, Lines(_say_own), _nothing)
    except KeyboardInterrupt:
        stop(client, id_, where)
        raise
    sys.exit(exit_code(job))


def _say_own(line: str) -> None:
    """A line of the job that is not Ray's."""
    if line.strip() and not _OF_RAY.match(line):
        say(line)


def _nothing(line: str) -> None:
    """What the job waits for is no finding."""
