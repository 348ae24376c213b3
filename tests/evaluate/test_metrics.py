"""pass@k, its interval and the paired comparison."""

from __future__ import annotations

from itertools import combinations

import pytest

from codeblock.evaluate.metrics import compare, mean_pass_at_k, pass_at_1_interval, pass_at_k


@pytest.mark.parametrize(("n", "c", "k"), [(5, 0, 1), (5, 2, 1), (5, 2, 3), (5, 2, 4), (5, 5, 2), (6, 1, 6)])
def test_pass_at_k_is_the_share_of_draws_with_a_passing_sample(n: int, c: int, k: int) -> None:
    draws = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_needs_k_samples() -> None:
    with pytest.raises(ValueError, match="pass@3"):
        pass_at_k(2, 1, 3)


def test_the_mean_is_over_tasks_not_over_samples() -> None:
    assert mean_pass_at_k([(1, 1), (9, 0)], 1) == 0.5
    assert mean_pass_at_k([(1, 1), (0, 0)], 1) == 0.5


def test_wilson_interval_of_a_known_case() -> None:
    """Wilson's formula by hand for 10 of 100: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)."""
    low, high = pass_at_1_interval([(1, 1)] * 10 + [(1, 0)] * 90)
    assert (low, high) == pytest.approx((0.05522914, 0.17436566), abs=1e-6)
    assert pass_at_1_interval([(1, 0)] * 20)[0] == 0
    assert 0.8 < pass_at_1_interval([(1, 1)] * 20)[0] < 1 == pass_at_1_interval([(1, 1)] * 20)[1]


def test_interval_of_several_samples_is_over_tasks() -> None:
    """Ten samples of one task are no ten tasks: the interval is as wide as that of the tasks."""
    few = pass_at_1_interval([(10, 10)] * 10 + [(10, 0)] * 10)
    assert few == pytest.approx((0.3, 0.7), abs=0.03)
    assert pass_at_1_interval([(10, 10)] * 20) == (1, 1)


def test_comparison_of_equal_arms() -> None:
    result = compare({"a": True, "b": False}, {"a": True, "b": False})
    assert (result.difference, result.p_value, result.only_first, result.only_second) == (0, 1, 0, 0)


def test_exact_mcnemar_of_a_known_case() -> None:
    """1 against 9 discordant tasks: 2 * (C(10,0) + C(10,1)) / 2^10."""
    first = {str(n): n < 1 or n >= 10 for n in range(20)}
    second = {str(n): n >= 1 for n in range(20)}
    result = compare(first, second)
    assert (result.only_first, result.only_second, result.tasks) == (1, 9, 20)
    assert result.difference == pytest.approx(0.4)
    assert result.p_value == pytest.approx(22 / 1024)


def test_arms_on_different_tasks_are_not_compared() -> None:
    with pytest.raises(ValueError, match="differ in 2 tasks"):
        compare({"a": True}, {"b": True})
