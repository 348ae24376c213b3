"""pass@k, its interval and the paired comparison."""

from __future__ import annotations

import math
from itertools import combinations

import pytest

from codeblock.core.metrics import (
    compare,
    compare_means,
    mean_of,
    mean_pass_at_k,
    newcombe,
    pass_at_k,
    pass_at_k_interval,
    pooled_counts,
)


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
    low, high = pass_at_k_interval([(1, 1)] * 10 + [(1, 0)] * 90)
    assert (low, high) == pytest.approx((0.05522914, 0.17436566), abs=1e-6)
    assert pass_at_k_interval([(1, 0)] * 20)[0] == 0
    assert 0.8 < pass_at_k_interval([(1, 1)] * 20)[0] < 1 == pass_at_k_interval([(1, 1)] * 20)[1]


def test_interval_of_several_samples_is_over_tasks() -> None:
    """Ten samples of one task are no ten tasks: the interval is as wide as that of the tasks."""
    few = pass_at_k_interval([(10, 10)] * 10 + [(10, 0)] * 10)
    assert few == pytest.approx((0.3, 0.7), abs=0.03)
    mixed = pass_at_k_interval([(10, 9)] * 10 + [(10, 1)] * 10)
    assert mixed == pytest.approx((0.32, 0.68), abs=0.03)


def test_interval_of_pass_at_k_is_about_pass_at_k() -> None:
    counts = [(10, 1)] * 20 + [(10, 0)] * 20
    low, high = pass_at_k_interval(counts, 10)
    assert low < mean_pass_at_k(counts, 10) == 0.5 < high
    assert high - low == pytest.approx(2 * 1.96 * (0.25 / 40) ** 0.5, abs=0.03)


def test_no_tasks_say_nothing() -> None:
    assert (mean_pass_at_k([], 1), pass_at_k_interval([])) == (0, (0, 1))


Arm = dict[str, tuple[int, int]]


def one_each(passed: list[bool]) -> Arm:
    return {str(number): (1, int(each)) for number, each in enumerate(passed)}


def test_comparison_of_equal_arms() -> None:
    result = compare(one_each([True, False]), one_each([True, False]))
    assert (result.difference, result.p_value, result.only_first, result.only_second) == (0, 1, 0, 0)
    assert result.interval[0] < 0 < result.interval[1]


def test_exact_mcnemar_of_a_known_case() -> None:
    """1 against 9 discordant tasks: 2 * (C(10,0) + C(10,1)) / 2^10."""
    result = compare(one_each([n < 1 or n >= 10 for n in range(20)]), one_each([n >= 1 for n in range(20)]))
    assert (result.only_first, result.only_second, result.tasks) == (1, 9, 20)
    assert (result.first, result.second) == (0.55, 0.95)
    assert result.difference == pytest.approx(0.4)
    assert result.p_value == pytest.approx(22 / 1024)
    assert result.interval[0] < 0.4 < result.interval[1]
    assert result.first_interval == pass_at_k_interval([(1, 1)] * 11 + [(1, 0)] * 9)


@pytest.mark.parametrize(
    ("both", "only_first", "only_second", "tasks", "published"),
    [
        (1, 7, 1, 21, (-0.507, -0.026)),  # Fagerland, Lydersen and Laake 2014, BMC Med. Res. Methodol. 12, airway data
        (14, 0, 5, 41, (0.01, 0.23)),  # Altman et al. 2000, Statistics with Confidence, table 6.2
    ],
)
def test_newcombe_interval_of_published_cases(
    both: int, only_first: int, only_second: int, tasks: int, published: tuple[float, float]
) -> None:
    assert newcombe(both, only_first, only_second, tasks) == pytest.approx(published, abs=0.005)


def test_newcombe_interval_mirrors_and_stays_within_one() -> None:
    low, high = newcombe(3, 2, 9, 30)
    assert newcombe(3, 9, 2, 30) == pytest.approx((-high, -low))
    assert newcombe(0, 0, 10, 10)[1] == 1
    assert newcombe(10, 0, 0, 10)[0] < 0 < newcombe(10, 0, 0, 10)[1]


def test_several_samples_are_compared_by_task() -> None:
    """Ten samples that all agree say no more than one: the p-value is McNemar's, up to the permutations drawn."""
    first = {str(n): (10, 10 * (n < 1 or n >= 10)) for n in range(20)}
    second = {str(n): (10, 10 * (n >= 1)) for n in range(20)}
    result = compare(first, second)
    assert (result.only_first, result.only_second) == (1, 9)
    assert result.p_value == pytest.approx(22 / 1024, abs=0.005)
    assert result.interval == pytest.approx((0.15, 0.65), abs=0.06)
    assert result == compare(first, second)


def test_a_difference_over_many_tasks_is_found_and_none_is_not() -> None:
    first = {str(n): (4, n % 4) for n in range(200)}
    better = compare(first, {task: (4, passed + (int(task) % 3 == 0)) for task, (_, passed) in first.items()})
    assert better.p_value < 0.001
    assert 0 < better.interval[0] < better.difference < better.interval[1]
    turned = compare(first, {str(n): (4, 3 - n % 4) for n in range(200)})
    assert turned.p_value > 0.9
    assert turned.interval[0] < 0 < turned.interval[1]


def test_tasks_of_one_arm_alone_are_left_out_and_counted() -> None:
    result = compare({"a": (1, 1), "b": (1, 0), "c": (1, 1)}, {"a": (1, 1), "b": (1, 1), "d": (1, 1)})
    assert (result.tasks, result.left_out, result.first, result.second) == (2, 2, 0.5, 1)


def test_arms_without_a_common_task_are_not_compared() -> None:
    with pytest.raises(ValueError, match="no task in common, 1 and 1 graded"):
        compare({"a": (1, 1)}, {"b": (1, 1)})


def test_means_are_compared_on_common_tasks_with_the_paired_t_test() -> None:
    """Differences -0.1, -0.2, -0.3: mean -0.2, deviation 0.1, standard error 0.1 / sqrt(3), t = -2 sqrt(3)."""
    found = compare_means({"a": 1.0, "b": 2.0, "c": 3.0, "x": 9.0}, {"a": 0.9, "b": 1.8, "c": 2.7, "y": 9.0})
    assert (found.tasks, found.left_out) == (3, 2)
    assert (found.first, found.second, found.difference) == pytest.approx((2.0, 1.8, -0.2))
    half = 4.302652729911275 * 0.1 / math.sqrt(3)  # Student's t, 2 degrees of freedom, 97.5%
    assert (found.low, found.high) == pytest.approx((-0.2 - half, -0.2 + half))
    assert found.p_value == pytest.approx(0.07417990022744858)
    with pytest.raises(ValueError, match="no task in common, 1 and 1 measured"):
        compare_means({"a": 1.0}, {"b": 1.0})


def test_one_task_has_no_interval_and_equal_differences_have_no_p() -> None:
    one = compare_means({"a": 1.0}, {"a": 0.5})
    assert (one.difference, one.low, one.high, one.p_value) == (-0.5, None, None, None)
    same = compare_means({"a": 1.0, "b": 2.0}, {"a": 0.5, "b": 1.5})
    assert (same.low, same.high, same.p_value) == (-0.5, -0.5, None)


def test_seeds_are_pooled_on_the_tasks_that_all_have() -> None:
    assert pooled_counts([{"a": (1, 1), "b": (1, 0)}, {"a": (1, 0), "c": (1, 1)}]) == {"a": (2, 1)}
    assert mean_of([{"a": 1.0, "b": 2.0}, {"a": 2.0}]) == {"a": 1.5}


def test_tasks_that_no_sample_passes_do_not_make_the_interval_a_point() -> None:
    assert pass_at_k_interval([(3, 0)] * 20) == pass_at_k_interval([(1, 0)] * 20)
    assert pass_at_k_interval([(3, 3), (3, 0)] * 10) == pass_at_k_interval([(1, 1), (1, 0)] * 10)
