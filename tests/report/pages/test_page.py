"""The page as HTML, without a browser: the response is there exactly, as text; nothing is asked of the network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeblock.report.pages.page import sample_page
from codeblock.report.pages.sample import SampleView


class Page(HTMLParser):
    """Text of an element by id, and the elements with their attributes. Fails on tags that do not match."""

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
        if tag not in {"meta", "br", "input"}:
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


def test_the_response_is_shown_exactly_and_its_html_is_text(sample: SampleView) -> None:
    page = Page(html := sample_page(sample))
    assert page.texts["response"] == sample.response
    assert page.texts["prompt"] == sample.prompt
    assert "<title>pairs &lt;1&gt;.jsonl:7</title>" in html
    assert [tag for tag, _ in page.elements if tag in {"img", "b"}].count("img") == 0
    assert [tag for tag, _ in page.elements].count("script") == 2


def test_no_text_of_the_data_ends_the_script_or_opens_another(sample: SampleView) -> None:
    end = "</script><script>window.hit=3</script>"
    outcomes = [replace(outcome, reason=end) for outcome in sample.arms[0].outcomes]
    arm = replace(sample.arms[0], name=end, strategy=end, status=end, outcomes=outcomes)
    html = sample_page(replace(sample, title=end, id=end, language=end, prompt=end, arms=[arm]))
    assert [tag for tag, _ in Page(html).elements].count("script") == 2
    assert "<script>window" not in html
    assert json.loads(Page(html).texts["data"])["arms"][0]["reasons"] == [end]


def test_the_page_asks_nothing_of_the_network(sample: SampleView) -> None:
    page = Page(html := sample_page(sample))
    for tag, attributes in page.elements:
        assert tag not in {"link", "img", "iframe", "object"}
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith(("#", "index.html"))
    assert "@import" not in html
    assert "url(" not in html
    assert html.count("http") == html.count("http://www.w3.org/2000/svg") == 1, "a name, never fetched"


def test_every_item_can_be_focused_once_and_is_named_in_words(sample: SampleView) -> None:
    page = Page(sample_page(sample))
    for item in range(len(sample.items)):
        assert [box.get("tabindex") for box in page.boxes(item)].count("0") == 1
        assert f"k-{sample.items[item].kind}" in (page.boxes(item)[0]["class"] or "").split()
    labels = [attributes["data-label"] for _, attributes in page.elements if "data-label" in attributes]
    assert labels == ["import 0", "control 1", "2 · 3"]


def test_the_mask_of_the_first_arm_needs_no_script(sample: SampleView) -> None:
    page = Page(sample_page(sample))
    assert "dropped" in (page.boxes(0)[0]["class"] or "").split()
    assert "kept" in (page.boxes(1)[0]["class"] or "").split()
    supervised = [a for _, a in page.elements if "data-t" in a and "on" in (a["class"] or "").split()]
    assert {int(a["data-t"] or -1) for a in supervised} == {t for t, w in enumerate(sample.arms[0].weight) if w}


def test_the_script_is_given_the_figures_of_every_arm(sample: SampleView) -> None:
    weight = [0.25, *sample.arms[1].weight[1:]]
    data = json.loads(
        Page(sample_page(replace(sample, arms=[sample.arms[0], replace(sample.arms[1], weight=weight)]))).texts["data"]
    )
    tokens = sample.items[0].tokens
    assert data["items"][0] == ["import", tokens, tokens, 0.5, 0.25, 4, 4]
    assert data["edges"] == [0, 1, 1, 3, 2, 3]
    blocks, everything = data["arms"]
    assert blocks["outcomes"][1][:4] == ["kept", sample.items[1].tokens, 0.501, 1.001]
    assert blocks["reasons"][blocks["outcomes"][0][4]] == "Below the cut: blocks was spent."
    assert everything["outcomes"][0][2:4] == [None, None]
    assert everything["levels"].startswith("1")
    assert everything["odd"] == {"0": 0.25}
    assert len(everything["levels"]) == len(sample.token_class)


def test_a_sample_that_does_not_fit_together_has_no_page(sample: SampleView) -> None:
    with pytest.raises(ValueError, match="sample abc123: token lists"):
        sample_page(replace(sample, token_nll=[]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(response=st.text(max_size=60))
def test_any_response_keeps_its_text(build: Callable[..., SampleView], response: str) -> None:
    page = Page(sample_page(build(response, [], [], [], prompt=response)))
    assert page.texts.get("response", "") == response
    assert page.texts.get("prompt", "") == response
