"""Where an answer stands in what a template wrote, on plain strings."""

from __future__ import annotations

import pytest

from codeblock.core.rendering.turns import Frame, Turn, exact, fitted, places, spared


@pytest.mark.parametrize(
    ("answer", "response", "found"),
    [
        ("ab", "ab", [0, 1, 2]),
        ("a b", "a\n\nb", [0, 1, 3, 4]),
        ("a\n\nb", "ab", [0, 1, 1, 1, 2]),
        ("b c", "a b  c", [2, 3, 5, 6]),
    ],
)
def test_each_character_of_an_answer_has_its_place_in_the_response_but_for_white_space(
    answer: str, response: str, found: list[int]
) -> None:
    assert places(answer, response).tolist() == found


def test_an_answer_is_never_found_in_what_the_template_wrote_before_it() -> None:
    frame = Frame("<think>\n\n</think>\n\n", "<e>")
    assert exact("q:", "q:<think>\n\n</think>\n\nthink<e>", "think", frame) == Turn("q:", frame.before or "", "think", "<e>")


def test_a_template_that_trims_takes_nothing_from_the_prompt() -> None:
    assert exact("q:", "q:x<e>", "\n    x", Frame("", "<e>")) == Turn("q:", "", "x", "<e>")
    assert fitted("q:", "q:a b<e>", " a\tb ", Frame("", "<e>"), "") == Turn("q:", "", "a b", "<e>")


def test_an_answer_that_the_template_changed_is_not_found() -> None:
    assert fitted("q:", "q:A<e>", "a", Frame("", "<e>"), "") is None
    assert fitted("q:", "q:a", "a", Frame("", "<e>"), "") is None
    assert fitted("q:", "other:a<e>", "a", Frame(None, "<e>"), None) is None


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("<think>a</think>b</think>", (0, 8)),
        (" [THINK]a[/THINK]", (1, 9)),
        ("a</think>b", (1,)),
        ("say <think>a</think>", ()),
        ("plain", ()),
    ],
)
def test_only_the_thought_with_which_an_answer_begins_has_real_tags(answer: str, found: tuple[int, ...]) -> None:
    assert spared(answer) == found
