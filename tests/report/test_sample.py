"""The page of a sample: it shows the response exactly, escapes it, and tells each item's fate.

The last tests open it in Chromium where that is installed.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeblock.report.sample import ItemView, Sample, pages_index, sample_from_row, sample_page, write_pages
from codeblock.schema import SCORED, TokenClass

RESPONSE = "Sure <b>&amp;</b>:\n\n```python\nimport os\r\nif a < b:\n    print('</code></pre><script>alert(1)</script>')\n```\n"
CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]


class Page(HTMLParser):
    """Text of an element by id, and the elements with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: dict[str, str] = {}
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag not in {"meta", "link", "br"}:
            self._open.append((tag, attributes.get("id")))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self._open.pop()
        assert opened == tag, f"<{opened}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        for _, name in self._open:
            if name:
                self.texts[name] = self.texts.get(name, "") + data

    def boxes(self, item: int) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.elements if attributes.get("data-i") == str(item)]


def word_spans(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\s*\S+|\s+$", text)]


def make_sample(response: str = RESPONSE) -> Sample:
    """Words as tokens, a kept call and a dropped import."""
    spans = word_spans(response)
    call = (response.index("print("), response.index("')\n") + 2)
    imported = (response.index("import"), response.index("import os") + len("import os"))
    weight = [1.0 if call[0] <= (low + high) / 2 < call[1] else 0.0 for low, high in spans]
    items = [
        ItemView("import", [imported], 2, 0.0, 0.5, 0.0, 0.125, False),
        ItemView("call", [call], 1, 0.75, 0.25, 0.0, 1.0, True),
    ]
    return Sample(
        title="codeblock <arm>",
        id="abc123",
        prompt="user:\nCompare & print <it>",
        response=response,
        token_spans=[*spans, (len(response), len(response))],
        token_class=[TokenClass.CODE] * len(spans) + [TokenClass.STOP],
        token_weight=[*weight, 1.0],
        token_nll=[0.1 * index for index in range(len(spans))] + [math.nan],
        items=items,
        edges=[(0, 1)],
    )


def test_the_response_is_shown_exactly_and_its_html_is_text() -> None:
    html = sample_page(make_sample())
    page = Page(html)
    assert page.texts["response"] == RESPONSE
    assert page.texts["prompt"] == "user:\nCompare & print <it>"
    assert "alert(1)</script>" not in html
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert "<title>codeblock &lt;arm&gt;</title>" in html


def test_a_response_cannot_end_the_pages_script() -> None:
    sample = make_sample()
    html = sample_page(replace(sample, title="</script><script>alert(2)</script>", prompt="</script>"))
    assert [tag for tag, _ in Page(html).elements].count("script") == 1


def test_the_page_asks_nothing_of_the_network() -> None:
    page = Page(html := sample_page(make_sample()))
    for tag, attributes in page.elements:
        assert tag not in {"link", "img", "iframe", "object"}
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    assert "@import" not in html
    assert "url(" not in html
    assert "http" not in html


def test_light_and_dark_are_both_styled() -> None:
    assert "@media (prefers-color-scheme: dark)" in sample_page(make_sample())


def test_an_item_tells_its_figures_and_its_fate_and_can_be_focused() -> None:
    page = Page(sample_page(make_sample()))
    dropped, kept = page.boxes(0)[0], page.boxes(1)[0]
    assert kept["title"] == "item 1: call, 1 tokens, kept\nutility 0.750\nreach 0.250\nbridge 0.000\npriority 1.000"
    assert (dropped["title"] or "").startswith("item 0: import, 2 tokens, dropped")
    assert "kept" in (kept["class"] or "").split()
    assert "kept" not in (dropped["class"] or "").split()
    assert "k-call" in (kept["class"] or "")
    assert kept["tabindex"] == "0"


def test_a_strategy_without_figures_shows_none() -> None:
    sample = make_sample()
    bare = [replace(item, utility=None, reach=None, bridge=None, priority=None) for item in sample.items]
    assert Page(sample_page(replace(sample, items=bare))).boxes(1)[0]["title"] == "item 1: call, 1 tokens, kept"


def test_an_item_of_two_lines_is_two_boxes_with_one_stop_for_the_keyboard_and_its_indent_outside() -> None:
    response = "    a = f(\n        1)\n"
    item = ItemView("definition", [(4, len(response) - 1)], 2, 0.0, 0.0, 0.0, 0.0, True)
    sample = Sample("t", "i", "", response, word_spans(response), [2] * 5, [1.0] * 5, [0.0] * 5, [item], [])
    html = sample_page(sample)
    page = Page(html)
    assert page.texts["response"] == response
    assert [box.get("tabindex") for box in page.boxes(0)] == ["0", None]
    for box in re.findall(r'<span class="item k.*?data-i="0".*?><span[^>]*>(.*?)<', html):
        assert not box.startswith(" ")


def test_supervised_background_and_context_tokens_differ() -> None:
    response = "one two three"
    sample = Sample("t", "i", "", response, word_spans(response), [1, 1, 1], [1.0, 0.1, 0.0], [0.0, 0.0, 5.0], [], [])
    page = Page(sample_page(sample))
    styles = [attributes["class"] for _, attributes in page.elements if "data-t" in attributes]
    assert styles == ["on s0", "faint s0", "s9"]


def test_the_header_counts_what_the_page_shows() -> None:
    html = sample_page(make_sample())
    tokens = len(word_spans(RESPONSE)) + 1
    assert f"<b>2 of {tokens}</b><span>response tokens supervised ({100 * 2 / tokens:.1f}%)" in html
    assert "<b>1 of 2</b><span>items kept" in html
    assert "stop token, supervised" in html


def test_wrong_input_names_the_sample() -> None:
    sample = make_sample()
    with pytest.raises(ValueError, match="sample abc123: token lists of different lengths"):
        sample_page(replace(sample, token_nll=[0.0]))
    outside = ItemView("call", [(0, 10_000)], 1, None, None, None, None, False)
    with pytest.raises(ValueError, match=r"sample abc123: item \(0, 10000\) lies outside"):
        sample_page(replace(sample, items=[outside]))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), response=st.text(max_size=60))
def test_any_response_with_any_spans_keeps_its_text(data: st.DataObject, response: str) -> None:
    place = st.integers(0, len(response))
    spans = data.draw(st.lists(st.tuples(place, place).map(lambda pair: (min(pair), max(pair))), max_size=8))
    cut = data.draw(place)
    items = [
        ItemView("other", [(0, cut)], 1, 0.0, 0.0, 0.0, 0.0, True),
        ItemView("call", [(cut, len(response))], 1, 0.0, 0.0, 0.0, 0.0, False),
    ]
    count = len(spans)
    sample = Sample("t", "i", response, response, spans, [3] * count, [1.0] * count, [0.5] * count, items, [(0, 1)])
    page = Page(sample_page(sample))
    assert page.texts.get("response", "") == response
    assert page.texts.get("prompt", "") == response


def test_a_scored_row_becomes_a_sample() -> None:
    row = {
        "id": "r1",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Add."}],
        "response": "a = 1\nb = a",
        "source": "x",
        "quality": None,
        "input_ids": [9, 9, 1, 2, 3, 4, 0],
        "response_start": 2,
        "token_class": [0, 0, 3, 2, 3, 3, 4],
        "token_item": [-1, -1, 0, 0, 1, 1, -1],
        "token_word": [-1] * 7,
        "item_kind": ["definition", "definition"],
        "item_spans": [[0, 5], [6, 11]],
        "item_reach": [1.0, 0.0],
        "item_bridge": [0.0, 0.0],
        "edges": [0, 1],
        "language": "python",
        "nll": [math.nan, math.nan, 1.0, 0.5, 0.25, 0.125, 0.0],
    }
    assert set(row) == set(SCORED.names)
    weight = [0.0, 0.0, 1.0, 1.0, 1.0, 0.1, 1.0]
    spans = [(0, 3), (3, 6), (6, 9), (9, 11), (11, 11)]
    sample = sample_from_row(row, weight, spans, title="t", utility=[0.5, 0.25], priority=[1.0, 0.25])
    assert sample.prompt == "system:\nBe brief.\n\nuser:\nAdd."
    assert [(item.tokens, item.selected, item.spans) for item in sample.items] == [(2, True, [(0, 5)]), (2, False, [(6, 11)])]
    assert sample.items[0].utility == 0.5
    assert sample.edges == [(0, 1)]
    assert list(sample.token_nll) == [1.0, 0.5, 0.25, 0.125, 0.0]
    assert Page(sample_page(sample)).texts["response"] == "a = 1\nb = a"


def test_the_index_links_to_every_page(tmp_path: Path) -> None:
    samples = [make_sample(), replace(make_sample(), id="def456")]
    paths = write_pages(samples, tmp_path / "samples")
    assert [path.name for path in paths] == ["index.html", "abc123.html", "def456.html"]
    assert all(path.is_file() for path in paths)
    links = [attributes["href"] for tag, attributes in Page(pages_index(samples)).elements if tag == "a"]
    assert links == ["abc123.html", "def456.html"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    return tmp_path_factory.mktemp("chromium")


def rendered(html: str, place: Path) -> Page:
    """The page after its script ran in a real browser."""
    assert CHROMIUM is not None
    (place / "page.html").write_text(html, encoding="utf-8", newline="")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={place / 'profile'}", "--dump-dom", (place / "page.html").as_uri()]
    ran = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return Page(ran.stdout.decode("utf-8"))


def test_a_browser_shows_the_response_exactly(browser: Path) -> None:
    probe = "<script>document.getElementById('details').textContent = [...document.getElementById('response').textContent]"
    probe += ".map(character => character.codePointAt(0)).join(' ')</script></body>"
    page = rendered(sample_page(make_sample()).replace("</body>", probe), browser)
    assert page.texts["details"] == " ".join(str(ord(character)) for character in RESPONSE)


def test_focus_on_an_item_tells_about_it_and_marks_what_it_uses(browser: Path) -> None:
    probe = "<script>document.querySelector('#item-1').focus(); tell(document.querySelector('#item-1'))</script></body>"
    page = rendered(sample_page(make_sample()).replace("</body>", probe), browser)
    assert page.texts["details"].startswith("item 1: call, 1 tokens, kept")
    assert page.texts["details"].endswith("uses what is defined in 0")
    assert "here" in (page.boxes(1)[0]["class"] or "").split()
    assert "linked" in (page.boxes(0)[0]["class"] or "").split()
