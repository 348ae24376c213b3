"""The MLflow UI over the local store."""

from __future__ import annotations

import errno
import os
import socket
import sys
from pathlib import Path

from codeblock.core.errors import CodeBlockError
from codeblock.report.mlflow.store import is_server, sqlite_path, without_password


def serve(uri: str, host: str, port: int, artifact_root: Path) -> None:
    """Become `mlflow server`: this process is replaced, so Ctrl-C and signals reach the server itself.

    Raises CodeBlockError where a server keeps the runs already, nothing was logged yet, or the port is taken.
    """
    if is_server(uri):
        raise CodeBlockError(f"MLflow at {without_password(uri)}: a tracking server has its own UI; open that address")
    path = sqlite_path(uri)
    if path is not None and not path.exists():
        raise CodeBlockError(f"{path}: no MLflow database yet; run `codeblock run` first or set storage to where it ran")
    _check_port(host, port)
    # Without jobs the server is 2 processes and 0.4 GB, with them 10 and 1.2 GB.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.execve(sys.executable, server_command(uri, host, port, artifact_root), environment)


def server_command(uri: str, host: str, port: int, artifact_root: Path) -> list[str]:
    """The command line of the server."""
    places = ["--backend-store-uri", uri, "--artifacts-destination", str(artifact_root)]
    return [sys.executable, "-m", "mlflow", "server", *places, "--host", host, "--port", str(port), "--workers", "1"]


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that just ended is no obstacle
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = "taken by another program" if error.errno == errno.EADDRINUSE else (error.strerror or str(error))
            raise CodeBlockError(f"{host}:{port}: {reason}; choose another with --port or --host") from error
