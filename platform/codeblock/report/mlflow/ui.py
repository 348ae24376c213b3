"""The MLflow UI over the local store."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import webbrowser
from contextlib import suppress

from mlflow import MlflowClient

from codeblock.core.errors import CodeBlockError
from codeblock.report.mlflow.store import is_server, sqlite_path, without_password
from codeblock.report.mlflow.view import newest_view

OPEN = """
import sys, time, urllib.request, webbrowser
for _ in range(120):
    try:
        urllib.request.urlopen(sys.argv[1].partition("#")[0] + "health", timeout=2)
        webbrowser.open(sys.argv[1])
        break
    except OSError:
        time.sleep(0.5)
"""
"""Another process does it, for this one becomes the server."""


def serve(uri: str, host: str, port: int, artifact_root: str) -> None:
    """Become `mlflow server`: this process is replaced, so Ctrl-C and signals reach the server itself.

    Raises CodeBlockError as `check_runs`, and where the port is taken.
    """
    check_runs(uri)
    _check_port(host, port)
    # Without jobs the server is 2 processes and 0.4 GB, with them 10 and 1.2 GB.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.execve(sys.executable, server_command(uri, host, port, artifact_root), environment)


def check_runs(uri: str) -> None:
    """Raise CodeBlockError where a server keeps the runs already, or nothing was logged yet."""
    if is_server(uri):
        raise CodeBlockError(f"MLflow at {without_password(uri)}: a tracking server has its own UI; open that address")
    path = sqlite_path(uri)
    if path is not None and not path.exists():
        raise CodeBlockError(f"{path}: no MLflow database yet; run `codeblock run` first or set storage to where it ran")


def newest_page(uri: str) -> str:
    """The address of the newest run's or sweep's view below that of the server; empty where there is none yet."""
    path = sqlite_path(uri)
    if is_server(uri) or (path is not None and not path.exists()):
        return ""  # `serve` says why
    return newest_view(MlflowClient(tracking_uri=uri), uri) or ""


def open_when_ready(address: str) -> None:
    """Show a page in the user's browser as soon as its server answers, where there is a browser to show it in."""
    with suppress(webbrowser.Error):
        webbrowser.get()
        subprocess.Popen([sys.executable, "-c", OPEN, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def server_command(uri: str, host: str, port: int, artifact_root: str) -> list[str]:
    """The command line of the server."""
    places = ["--backend-store-uri", uri, "--artifacts-destination", artifact_root]
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
