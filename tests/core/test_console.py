"""What a log says of long work where no terminal draws a bar."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from codeblock.core import console as shown
from codeblock.core.console import counter, stage_line
from codeblock.experiment.cache import Step


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    monkeypatch.setattr(shown, "LINE_SECONDS", 0.05)
    return Step("scored", "scored", {"a": 1}, tmp_path)


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if "so far" in line]


def wait_for_a_line(capsys: pytest.CaptureFixture[str], of: str = "") -> str:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if found := [line for line in printed(capsys) if of in line]:
            return found[0]
        time.sleep(0.02)
    raise AssertionError("no line was said")


def test_a_stage_says_a_line_from_time_to_time_with_what_is_done_and_what_is_left(
    step: Step, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage_line(step), counter("parts", 40) as advance:
        advance(10, "loss 1.5")
        line = wait_for_a_line(capsys, of="parts: 10 of 40")
    printed(capsys)  # another one may have come meanwhile
    assert re.match(r"scored: \d+ s so far, parts: 10 of 40, ", line)
    assert "/s, about " in line
    assert line.endswith(" s left (loss 1.5)")
    time.sleep(0.2)
    assert not printed(capsys), "it ends with the stage"


def test_a_stage_without_a_count_says_that_it_goes_on(step: Step, capsys: pytest.CaptureFixture[str]) -> None:
    with stage_line(step):
        assert re.fullmatch(r"scored: \d+ s so far", wait_for_a_line(capsys))


def test_the_innermost_count_is_said(step: Step, capsys: pytest.CaptureFixture[str]) -> None:
    with stage_line(step), counter("rows"):
        with counter("parts", 2) as advance:
            advance(1)
            assert wait_for_a_line(capsys, of="parts: 1 of 2")
        assert wait_for_a_line(capsys, of="rows: 0")


def test_text_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    said = "strategy 'mine:pick': no [bold] :smile: here"
    shown.say(said)
    assert capsys.readouterr().out == f"{said}\n"
