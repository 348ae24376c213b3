"""What a fit tells its workers; they are not started here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.train.test_driver import write_selected

from codeblock.config import ClusterConfig, TrainConfig
from codeblock.console import console
from codeblock.train import driver


@pytest.mark.parametrize("terminal", [True, False])
def test_workers_draw_a_bar_only_where_the_run_prints_to_a_terminal(
    tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    jobs: list[dict[str, Any]] = []
    monkeypatch.setattr(driver, "require", lambda *_: None)
    monkeypatch.setattr(driver, "_run", lambda job, *_: jobs.append(job) or {})
    monkeypatch.setattr(console, "_force_terminal", terminal)
    selected = write_selected(tmp_path / "selected")
    driver.fit(selected, str(small_model), None, tmp_path / "out", TrainConfig(), ClusterConfig(), 0)
    assert [job["bar"] for job in jobs] == [terminal]
