"""The plots: real PNG files whose axes, labels and marks say what the rows say."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from codeblock.report.plots import plot_dev_nll, plot_loss, plot_share_against_pass, write_figure
from codeblock.report.table import ArmRow, Score

ROWS = [
    ArmRow("base", {"tiny": Score(200, 0.31, 0.25, 0.38)}),
    ArmRow("full", {"tiny": Score(200, 0.61, 0.54, 0.67)}, 1000, 1.0),
    ArmRow("random_tokens", {"tiny": Score(200, 0.40, 0.34, 0.47)}, 20, 0.0191),
    ArmRow("codeblock", {"tiny": Score(200, 0.42, 0.35, 0.49)}, 19, 0.019),
]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were written, to look into."""
    seen: list[Figure] = []
    write = Figure.savefig

    def keep(self: Figure, *args: object, **kwargs: object) -> None:
        seen.append(self)
        write(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Figure, "savefig", keep)
    return seen


def size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_plot_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run may read it meanwhile."""
    path = tmp_path / "loss.png"
    path.write_text("of an earlier run")

    def fails(self: Figure, place: Path, **_: object) -> None:
        Path(place).write_text("half")
        raise OSError

    monkeypatch.setattr(Figure, "savefig", fails)
    with pytest.raises(OSError):  # noqa: PT011
        write_figure(Figure(), path)
    assert [each.name for each in tmp_path.iterdir()] == ["loss.png"]
    assert path.read_text() == "of an earlier run"


def test_share_against_pass_marks_each_trained_arm_and_draws_the_base_as_a_band(tmp_path: Path, figures: list[Figure]) -> None:
    path = plot_share_against_pass(ROWS, "tiny", tmp_path / "new" / "share.png")
    assert size(path) == (1200, 750)
    axes = figures[0].axes[0]
    assert axes.get_xscale() == "log"
    assert "pass@1 on tiny, 95% interval (200 tasks)" in axes.get_ylabel()
    labels = " ".join(texts(figures[0]))
    for expected in ("base 0.310", "full\n0.610", "random_tokens\n0.400", "codeblock\n0.420"):
        assert expected in labels
    points = {round(float(box.lines[0].get_ydata()[0]), 2) for box in axes.containers}  # type: ignore[attr-defined]
    assert points == {0.61, 0.40, 0.42}
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (round(band.y0, 2), round(band.y1, 2)) == (0.25, 0.38)


def test_equal_shares_are_drawn_side_by_side(tmp_path: Path, figures: list[Figure]) -> None:
    plot_share_against_pass(ROWS, "tiny", tmp_path / "share.png")
    axes = figures[0].axes[0]
    places = sorted(float(box.lines[0].get_xdata()[0]) for box in axes.containers)  # type: ignore[attr-defined]
    assert places[1] / places[0] > 1.1
    assert places[0] < 0.01905 < places[1]


def test_share_against_pass_stands_without_trained_arms_and_with_zeros(tmp_path: Path) -> None:
    zero = {"tiny": Score(10, 0.0, 0.0, 0.0)}
    assert size(plot_share_against_pass(ROWS[:1], "tiny", tmp_path / "a.png"))
    assert size(plot_share_against_pass([ArmRow("x", zero, 1, 0.01)], "tiny", tmp_path / "b.png"))


def test_loss_has_a_curve_and_a_label_at_its_end_per_arm(tmp_path: Path, figures: list[Figure]) -> None:
    histories = {
        "full": [{"step": step, "loss": 2.0 - step / 10} for step in range(11)],
        "codeblock": [{"step": step, "loss": 2.0 - step / 10} for step in range(11)],
        "empty": [],
    }
    size(plot_loss(histories, tmp_path / "loss.png"))
    axes = figures[0].axes[0]
    assert [len(line.get_xdata()) for line in axes.lines] == [11, 11, 0]  # type: ignore[arg-type]
    assert sorted(texts(figures[0])) == ["codeblock 1.00", "full 1.00"]
    heights = sorted(text.xyann[1] for text in axes.texts)  # type: ignore[attr-defined]
    assert heights[1] - heights[0] > 0.04, "labels of equal ends do not cover each other"
    assert "nats" in axes.get_ylabel()


def test_dev_nll_has_a_panel_per_class_and_arm_with_supervised_and_other_tokens_apart(
    tmp_path: Path, figures: list[Figure]
) -> None:
    rows = [
        {"step": step, "token_class": kind, "supervised": supervised, "nll": nll}
        for step in (0, 20)
        for kind in ("text", "core")
        for supervised, nll in ((True, 1.0), (False, 2.0))
    ]
    size(plot_dev_nll({"full": rows, "codeblock": rows}, tmp_path / "dev.png"))
    panels = figures[0].axes
    assert len(panels) == 4
    assert [axes.get_title() for axes in panels[:2]] == ["full", "codeblock"]
    assert [axes.get_ylabel() for axes in panels[::2]] == ["text tokens", "core tokens"]
    for axes in panels:
        supervised, other = axes.lines
        assert list(supervised.get_ydata()) == [1.0, 1.0]  # type: ignore[arg-type]
        assert list(other.get_ydata()) == [2.0, 2.0]  # type: ignore[arg-type]
    assert [text.get_text() for text in figures[0].legends[0].texts] == ["supervised tokens", "tokens without a loss"]
