"""How the command line tells of errors: one line where a user can mend them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.markup import escape

from codeblock.core.console import errors
from codeblock.core.errors import ClusterLostError, CodeBlockError, causes, system_cause, system_error


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print an error that a user can mend as one line, and end the process with its status."""
    try:
        yield
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except Exception as error:
        if hasattr(error, "format_message"):  # of the command line: click's own class, or the copy of it that typer carries
            sys.exit(_misused(error))
        cause = _cause(error)
        if cause is None or os.environ.get("CODEBLOCK_TRACEBACK"):
            raise
        errors.print(f"[bold red]error:[/bold red] {escape(cause)}", soft_wrap=True)
        _leave(error)


def _leave(error: Exception) -> NoReturn:
    if isinstance(error, ClusterLostError):
        # Ray's own threads still try to reach what is gone, and may crash where they are taken down in order.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    sys.exit(1)


def _misused(error: Any) -> int:
    """Tell of a command, option or argument that there is not; the exit status. Help that was asked for stays help."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" or context is None:
        error.show()
    else:
        told = error.format_message().rstrip(".").replace("\n", " ")
        errors.print(f"[bold red]error:[/bold red] {escape(told)}; see `{context.command_path} --help`", soft_wrap=True)
    return int(error.exit_code)


def _cause(error: BaseException) -> str | None:
    """The line for the user, if an error that a user can mend lies at the root (Ray wraps those of its workers)."""
    for each in causes(error):
        if isinstance(each, CodeBlockError):
            return str(each)
        if (refused := system_cause(each)) is not None:
            return system_error(refused)
    return None
