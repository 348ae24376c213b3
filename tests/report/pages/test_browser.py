"""The pages in a real Chromium: what the keyboard, the pointer and the switch of masks do, and that nothing is fetched."""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from codeblock.report.pages.index import ArmTally, index_page
from codeblock.report.pages.page import sample_page
from codeblock.report.pages.sample import SampleView

Open = Callable[[str], Any]
LOAD_SECONDS = 20.0
"""Generous, for a busy machine; 1.4 s were measured for 2,000 lines."""


@pytest.fixture
def show(chromium: Callable[[], Any], tmp_path: Path) -> Open:
    """Opens HTML from a file in a tab of its own, and keeps the seconds it took as `seconds`."""

    def open_page(html: str) -> Any:
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8", newline="")
        tab = chromium()
        tab.look()
        tab.seconds = tab.open(path)
        return tab

    return open_page


def details(tab: Any) -> str:
    return str(tab.js("document.getElementById('details').innerText"))


def supervised(tab: Any, pane: int = 0) -> list[int]:
    """Tokens that a pane shows as supervised."""
    query = f"[...new Set([...document.querySelectorAll('.pane')[{pane}].querySelectorAll('.on')].map(n => +n.dataset.t))]"
    return sorted(tab.js(query))


def mask(sample: SampleView, arm: int) -> list[int]:
    return [token for token, weight in enumerate(sample.arms[arm].weight) if weight]


def is_quiet(tab: Any) -> bool:
    """Whether nothing but the page itself was asked for, and neither an error nor a message came up."""
    assert len(tab.requests) == 1, tab.requests
    assert tab.complaints == []
    return True


def test_the_response_is_shown_exactly_and_its_scripts_never_run(show: Open, sample: SampleView) -> None:
    tab = show(sample_page(sample))
    assert tab.js("document.getElementById('response').textContent") == sample.response
    assert tab.js("window.hit") is None
    tab.hover("#item-3")
    assert tab.js("window.hit") is None
    assert is_quiet(tab)


def test_the_keyboard_walks_through_the_items_and_tells_their_figures(show: Open, sample: SampleView) -> None:
    tab = show(sample_page(sample))
    tab.js("document.querySelector('summary').focus()")
    tab.press("Tab")
    assert tab.js("document.activeElement.id") == "item-0"
    assert "item 0, import" in details(tab)
    assert "Below the cut: blocks was spent." in details(tab)
    tab.press("ArrowDown")
    told = details(tab)
    assert tab.js("document.activeElement.id") == "item-1"
    for part in ("item 1, control", "Kept: reached.", "lines 5 to 6", "utility", "0.501", "reach", "0.500", "bridge", "0.250"):
        assert part in told
    assert "priority" in told
    assert "1.001" in told
    assert "Uses what is defined in 0" in told
    assert "Is used in 3" in told
    tab.press("End")
    assert tab.js("document.activeElement.id") == "item-3"
    tab.press("Home", "Tab")
    assert tab.js("document.activeElement.id") == "item-1"
    assert tab.js("getComputedStyle(document.activeElement, '::after').outlineStyle") == "solid"
    spoken = tab.js("document.activeElement.getAttribute('aria-label')")
    assert spoken.startswith("item 1, control, ")
    assert spoken.endswith("kept. Kept: reached.")
    tab.press("Escape")
    assert tab.js("document.activeElement.name") == "arm"
    assert is_quiet(tab)


def test_the_arrow_keys_walk_through_the_tokens_of_an_item(show: Open, sample: SampleView) -> None:
    tab = show(sample_page(sample))
    tab.js("document.getElementById('item-0').focus()")
    tab.press("ArrowRight", "ArrowRight")
    first = next(token for token, (_, high) in enumerate(sample.token_spans) if high > sample.response.index("import os"))
    nll = sample.token_nll[first + 1]
    assert f'" os", core\nnll {nll:.3f}, GCE ' in details(tab)
    assert tab.js("document.querySelectorAll('#response .cursor').length") == 1


def test_the_pointer_tells_what_lies_under_it_and_leaves_the_focused_item(show: Open, sample: SampleView) -> None:
    tab = show(sample_page(sample))
    tab.js("document.getElementById('item-0').focus()")
    tab.hover("#item-1 [data-t]")
    assert "item 1, control" in details(tab)
    tab.hover("h1")
    assert "item 0, import" in details(tab)


def test_the_switch_changes_the_mask_the_outlines_and_the_reason(show: Open, sample: SampleView) -> None:
    tab = show(sample_page(sample))
    assert supervised(tab) == mask(sample, 0)
    tab.js("document.getElementById('item-0').focus()")
    tab.press("Escape", "ArrowRight")
    assert supervised(tab) == mask(sample, 1) != mask(sample, 0)
    assert tab.js("document.getElementById('item-0').classList.contains('kept')")
    assert "Kept: reached." in details(tab)
    assert "all, trained on" in tab.js("document.getElementById('summary').innerText")
    assert is_quiet(tab)


def test_masks_stand_side_by_side_line_by_line(show: Open, sample: SampleView) -> None:
    tab = show(sample_page(sample))
    tab.js("document.querySelectorAll('#beside input')[1].focus()")
    tab.press(" ")
    assert tab.js("document.querySelectorAll('.pane').length") == 2
    assert (supervised(tab, 0), supervised(tab, 1)) == (mask(sample, 0), mask(sample, 1))
    lines = "[...document.querySelectorAll('.pane')].map(p => [...p.querySelectorAll('.l')].map(l => l.{}().top))"
    left, right = tab.js(lines.format("getBoundingClientRect"))
    assert left == right
    assert tab.js("document.querySelectorAll('[id=\"item-0\"]').length") == 1
    tab.press(" ")
    assert tab.js("document.querySelectorAll('.pane').length") == 1
    assert is_quiet(tab)


def test_the_edges_of_the_focused_item_stand_out(show: Open, sample: SampleView) -> None:
    tab = show(sample_page(sample))
    assert tab.js("document.querySelectorAll('#arcs path').length") == 3
    assert tab.js("document.querySelectorAll('#arcs .near').length") == 0
    tab.js("document.getElementById('item-1').focus()")
    assert tab.js("document.querySelectorAll('#arcs .near').length") == 2
    assert tab.js("[...document.querySelectorAll('#response .linked')].map(n => n.dataset.i).join()") == "0,3"


@pytest.mark.parametrize("width", [1240, 700])
def test_nothing_is_wider_than_the_window_and_no_labels_overlap(show: Open, sample: SampleView, width: int) -> None:
    tab = show(sample_page(sample))
    tab.look(width)
    assert tab.js("document.documentElement.scrollWidth") <= width
    tops = tab.js("[...document.querySelectorAll('[data-label]')].map(n => n.getBoundingClientRect().top)")
    assert all(low + 20 < high for low, high in pairwise(tops))


def test_light_and_dark_both_have_readable_text(show: Open, sample: SampleView) -> None:
    tab = show(sample_page(sample))
    grounds = []
    for dark in (False, True):
        tab.look(dark=dark)
        grounds.append(tab.js("getComputedStyle(document.body).backgroundColor"))
        for selector in ("body", "#response", "#details", ".facts"):
            assert contrast(tab, selector) >= 4.5, (selector, dark)
    assert grounds[0] != grounds[1]


def contrast(tab: Any, selector: str) -> float:
    """Contrast of an element's text with the page, by WCAG 2's formula."""
    text = tab.js(f"getComputedStyle(document.querySelector('{selector}')).color")
    ground = tab.js("getComputedStyle(document.body).backgroundColor")
    bright, dark = sorted((luminance(text), luminance(ground)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(", ")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_two_thousand_lines_open_scroll_switch_and_compare_without_freezing(show: Open, long_sample: SampleView) -> None:
    tab = show(sample_page(long_sample))
    assert tab.seconds < LOAD_SECONDS
    assert tab.js("document.querySelectorAll('#response .item').length") == 2000
    assert 0 < tab.js("document.querySelectorAll('#arcs path').length") <= 301
    steps = {
        "focus": "document.getElementById('item-1000').focus()",
        "scroll": "scrollTo(0, 30000); new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))",
        "switch": "document.querySelectorAll('#arms input')[1].click(); document.body.offsetHeight",
        "compare": "document.querySelectorAll('#beside input')[0].click(); document.body.offsetHeight",
    }
    for name, script in steps.items():
        started = time.perf_counter()
        tab.js(script)
        assert time.perf_counter() - started < LOAD_SECONDS / 2, name
    assert supervised(tab, 0) == mask(long_sample, 1)
    assert supervised(tab, 1) == mask(long_sample, 0)
    assert tab.js("document.querySelectorAll('#arcs path').length") <= 601
    assert "item 1000, definition" in details(tab)
    assert is_quiet(tab)


def test_the_page_works_in_the_sandboxed_frame_of_a_tracking_server(show: Open, sample: SampleView) -> None:
    """MLflow shows HTML artifacts in a frame with scripts and without an origin."""
    tab = show(f'<iframe sandbox="allow-scripts" srcdoc="{escape(sample_page(sample))}"></iframe>')
    frame = tab.call("Page.getFrameTree")["frameTree"]["childFrames"][0]["frame"]["id"]
    world = tab.call("Page.createIsolatedWorld", frameId=frame)["executionContextId"]
    script = "document.getElementById('item-1').getAttribute('aria-label')"
    spoken = tab.call("Runtime.evaluate", expression=script, contextId=world, returnByValue=True)["result"]["value"]
    assert spoken.endswith("Kept: reached.")
    back = tab.call("Runtime.evaluate", expression="document.querySelector('.back')", contextId=world)["result"]
    assert back["subtype"] == "null", "a link out of the frame leads nowhere"
    assert [url for url in tab.requests if not url.startswith("about:")] == tab.requests[:1]
    assert tab.complaints == []


def test_the_index_opens_without_a_word(show: Open, sample: SampleView) -> None:
    tally = ArmTally("blocks", "codeblock", 0.1, 0.1, shares=[0.0, 0.5])
    tab = show(index_page("small", [sample], [tally]))
    assert "blocks" in tab.js("document.body.innerText")
    assert is_quiet(tab)
