"""The index: distributions counted pair by pair, and links to pages that are written with it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codeblock.report.pages.index import BINS, ArmTally, index_page, write_pages
from codeblock.report.pages.sample import SampleView


def make_tally() -> ArmTally:
    """Three pairs: nothing, a quarter and everything supervised."""
    tally = ArmTally("blocks <1>", "codeblock", 0.15, 0.15, largest_utility=1.0)
    for share, supervised in ((0.0, [0, 0]), (0.25, [0, 4]), (1.0, [4, 4])):
        tally.add_pair(share, ["call", "return"], np.array([4, 4]), np.array(supervised))
    return tally


def test_shares_are_counted_in_bins_and_bare_pairs_apart() -> None:
    tally = make_tally()
    assert sum(tally.histogram) == 2
    assert tally.histogram[BINS // 4] == tally.histogram[-1] == 1
    assert (tally.bare, tally.median) == (1, 0.25)


def test_kinds_are_counted_by_their_tokens() -> None:
    tally = make_tally()
    assert tally.kind_share("call") == pytest.approx(4 / 12)
    assert tally.kind_share("return") == pytest.approx(8 / 12)
    assert tally.kind_share("import") is None


def test_items_fall_into_cells_by_lift_and_utility() -> None:
    tally = make_tally()
    tally.add_structure(np.array([0.0, 0.0, 0.5]), np.array([0.0, 0.0, 1.0]), np.array([False, True, True]), 0.5)
    assert tally.cells == [(0, 0, 1.0, 2, 1), (11, 11, pytest.approx(np.log(2) / np.log(3)), 1, 1)]


def test_the_index_shows_every_distribution_and_links_to_every_page(sample: SampleView, tmp_path: Path) -> None:
    tally = make_tally()
    tally.add_structure(np.array([0.1]), np.array([0.5]), np.array([True]), 0.5)
    samples = [sample, replace(sample, id="def456")]
    paths = write_pages("small", samples, [tally], tmp_path / "samples")
    assert [path.name for path in paths] == ["index.html", "abc123.html", "def456.html"]
    assert all(path.is_file() for path in paths)
    html = paths[0].read_text()
    assert re.findall('href="([^"]+)"', html) == ["abc123.html", "def456.html"]
    assert "blocks &lt;1&gt;" in html
    assert "blocks <1>" not in html
    assert "Histogram of 3 pairs; median 25.0%, 1 without a supervised token." in html
    assert "<title>1 items, 1 kept</title>" in html


def test_an_arm_that_ranks_nothing_has_no_plot_of_structure() -> None:
    assert "Utility against structure" not in index_page("small", [], [make_tally()])


def test_nothing_is_written_where_a_sample_does_not_fit_together(sample: SampleView, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sample abc123"):
        write_pages("small", [replace(sample, token_nll=[])], [], tmp_path / "samples")
    assert not (tmp_path / "samples").exists()
