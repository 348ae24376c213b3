"""`codeblock --version`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer


def add_version(app: typer.Typer) -> None:
    """Put the option into the application."""
    app.callback()(_options)


def _tell(asked: bool) -> None:
    if asked:
        typer.echo(f"codeblock {version('codeblock')}")
        raise typer.Exit


def _options(
    told: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_tell)] = False,
) -> None:
    pass
