"""Ratings through the official client, from a local server that answers, refuses, stalls and talks nonsense."""

import pytest

from codeblock.core.config import RATING_PROMPT, FilterConfig, RatingConfig
from codeblock.core.errors import CodeBlockError
from codeblock.data.filter.rating import Rater, check_endpoint, parse, prompt, read_key
from codeblock.data.filter.stage import finish


def settings(url, **changes):
    return RatingConfig(
        **{"url": url, "model": "judge", "key_env": "RATING_KEY", "timeout_seconds": 30, "retries": 2, **changes}
    )


def rate(config, *texts):
    return Rater(config, read_key(config))([[{"role": "user", "content": text}] for text in texts], ["x = 1"] * len(texts))


def test_a_rating_is_the_number_of_the_reply(stand_in):
    (rating,) = rate(settings(stand_in.url), "fine")
    assert (rating.quality, rating.failure) == (4.5, None)
    assert "Request:\nfine\n\nAnswer:\nx = 1" in stand_in.prompts[0]


def test_a_status_429_is_tried_again(stand_in):
    (rating,) = rate(settings(stand_in.url), "<busy>")
    assert rating.quality == 4.5
    assert stand_in.requests["busy"] == 2


@pytest.mark.parametrize(
    ("text", "requests", "says"),
    [
        ("<talk>", 1, "no number from 0 to 5 in 'I like it a lot.'"),
        ("<large>", 1, "no number from 0 to 5 in '9'"),
        ("<broken>", 1, "not a chat completion"),
        ("<down>", 3, "500"),
        ("<slow>", 2, "no reply"),
    ],
)
def test_what_fails_says_why_and_leaves_the_others(stand_in, text, requests, says):
    config = settings(stand_in.url, **({"timeout_seconds": 1, "retries": 1} if text == "<slow>" else {}))
    failed, good = rate(config, text, "fine")
    assert failed.quality is None
    assert says in failed.failure
    assert failed.unreachable == (text == "<slow>")
    assert good.quality == 4.5
    assert stand_in.requests[text.strip("<>")] == requests


def test_so_many_requests_at_a_time_as_asked_for(stand_in):
    assert all(rating.quality == 4.5 for rating in rate(settings(stand_in.url, concurrency=3), *["fine"] * 12))
    assert stand_in.busiest == 3


@pytest.mark.parametrize(("change", "says"), [({"model": "other"}, "no model other"), ({"key_env": None}, "wrong key")])
def test_a_refusal_ends_the_run(stand_in, change, says):
    with pytest.raises(CodeBlockError, match=says):
        rate(settings(stand_in.url, **change), "fine")


def test_the_endpoint_is_looked_at_before_the_work(stand_in, monkeypatch):
    check_endpoint(settings(stand_in.url))
    with pytest.raises(CodeBlockError, match=r"filter\.rating\.url=http://127\.0\.0\.1:9/v1: no answer .*; start the server"):
        check_endpoint(settings("http://127.0.0.1:9/v1"))
    monkeypatch.setenv("RATING_KEY", "wrong")
    with pytest.raises(CodeBlockError, match="wrong key"):
        check_endpoint(settings(stand_in.url))
    monkeypatch.delenv("RATING_KEY")
    with pytest.raises(CodeBlockError, match=r"key_env=RATING_KEY: not set in the environment"):
        check_endpoint(settings(stand_in.url))


def test_texts_with_braces_go_into_the_prompt_as_they_are():
    assert prompt('{"a": 1} {instruction}|{response}', "{response}", "{x}") == '{"a": 1} {response}|{x}'
    assert "{instruction}" not in prompt(RATING_PROMPT, "a", "b")
    with pytest.raises(ValueError, match="needs both"):
        RatingConfig(url="http://x", model="m", prompt="Rate {response}")


@pytest.mark.parametrize(
    ("reply", "quality"),
    [
        ("4", 4),
        ("Score: 3.5/5", 3.5),
        ("0", 0),
        ("5.0", 5),
        ("5.5", None),
        ("10", None),
        ("-1", None),
        ("four", None),
        ("", None),
    ],
)
def test_parse(reply, quality):
    assert parse(reply) == quality


class TestFinish:
    """What ratings do to a table of pairs."""

    def rows(self, pairs_table, stand_in, **filters):
        config = FilterConfig(rating=settings(stand_in.url, **filters.pop("rating", {})), **filters)
        table = pairs_table([("fine", "x"), ("<talk>", "x"), ("fine", "x", 0.2)])
        return finish(table, config, {}, Rater(config.rating, "secret"), 5.0)

    def test_pairs_without_a_quality_are_rated_and_the_others_brought_to_the_same_scale(self, pairs_table, stand_in):
        kept, rejected, ratings = self.rows(pairs_table, stand_in)
        assert kept["quality"].to_pylist() == [4.5, None, 1.0]
        assert rejected.num_rows == 0
        assert ratings["quality"].to_pylist() == [4.5, None]
        assert "no number" in ratings["failure"][1].as_py()

    def test_overwrite_rates_all(self, pairs_table, stand_in):
        kept, _, ratings = self.rows(pairs_table, stand_in, rating={"overwrite": True})
        assert kept["quality"].to_pylist() == [4.5, None, 4.5]
        assert ratings.num_rows == 3

    def test_the_least_quality_is_on_the_scale_of_the_ratings_and_spares_pairs_without_one(self, pairs_table, stand_in):
        kept, rejected, _ = self.rows(pairs_table, stand_in, min_quality=2)
        assert kept["quality"].to_pylist() == [4.5, None]
        assert rejected["reason"].to_pylist() == ["below_min_quality"]
        assert rejected["detail"].to_pylist() == ["quality 1"]
