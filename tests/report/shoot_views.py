"""Pictures of what MLflow opens on, out of the runs of a storage: `python -m tests.report.shoot_views runs docs`.

Writes mlflow_run.png and mlflow_sweep.png, of the newest view of each kind; run from the repository's root.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mlflow import MlflowClient
from tests.browser import browser

from codeblock.core.config import TrackConfig
from codeblock.report.mlflow.store import tracking_uri
from codeblock.report.mlflow.view import SHARED, runs_page

KINDS = {"Arms of": "mlflow_run.png", "Sweep": "mlflow_sweep.png"}
DRAW_SECONDS = 8.0
"""Charts are drawn after the list of runs."""


def views(uri: str) -> dict[str, str]:
    """The address of the newest view of each kind, by the name of its picture."""
    found: dict[str, tuple[int, str]] = {}
    for experiment in MlflowClient(uri).search_experiments():
        for tag, value in experiment.tags.items():
            told = json.loads(value) if tag.startswith(SHARED) else {}
            for start, picture in KINDS.items():
                if str(told.get("name", "")).startswith(start):
                    key = tag.removeprefix(SHARED)
                    page = f"{runs_page(experiment.experiment_id)}?viewStateShareKey={key}&compareRunsMode=CHART"
                    found[picture] = max(found.get(picture, (0, "")), (int(told["createdAt"]), page))
    return {picture: page for picture, (_, page) in found.items()}


def main(storage: Path, out: Path) -> None:
    """Start `codeblock ui` and take the pictures."""
    out.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "codeblock", "ui", "--storage", str(storage), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as tabs:
            _wait(port)
            for picture, page in views(tracking_uri(TrackConfig(), storage)).items():
                tab = tabs()
                tab.look(1500, 900)
                tab.visit(f"http://127.0.0.1:{port}/{page}", "(document.body?.innerText ?? '').includes('matching run')")
                tab.js("document.querySelector('[aria-label=\"Close\"]')?.click()")
                time.sleep(DRAW_SECONDS)
                print(tab.shot(out / picture))
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _wait(port: int) -> None:
    for _ in range(240):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
