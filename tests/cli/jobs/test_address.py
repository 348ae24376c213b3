"""Which cluster is meant, and why."""

import pytest

from codeblock.cli.jobs.address import address_and_why, connect, told_dashboard
from codeblock.core.errors import CodeBlockError


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def test_the_option_is_used_where_no_variable_is_set():
    assert address_and_why("http://head:8265") == ("http://head:8265", "http://head:8265 (--address)")


def test_without_anything_it_is_this_machine():
    assert address_and_why(None)[0] == "http://127.0.0.1:8265"


def test_a_variable_overrides_the_option_and_that_is_said(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://other:8265")
    found = address_and_why("http://head:8265")
    assert found == ("http://other:8265", "http://other:8265 (RAY_ADDRESS says so and overrides --address http://head:8265)")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://api:8265")
    assert address_and_why(None) == ("http://api:8265", "http://api:8265 (RAY_API_SERVER_ADDRESS says so)")


def test_a_dashboard_out_of_the_environment_is_known_by_its_scheme(monkeypatch):
    assert told_dashboard() is None
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert told_dashboard() is None
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://api:8265")
    assert told_dashboard() == "http://api:8265"


def test_an_address_where_nothing_answers_is_one_line_with_what_to_set():
    with pytest.raises(CodeBlockError, match=r"^cluster http://127.0.0.1:9 \(--address\): no Ray dashboard answers there"):
        connect("http://127.0.0.1:9")
