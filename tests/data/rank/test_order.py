"""One ranking from signals, by hand: bins, ties, and the middle for what is not known."""

import numpy as np
import pytest

from codeblock.data.rank.order import by_mean, in_bins, lexicographic, ranks, with_median

NAN = float("nan")


def signal(*values):
    return np.array(values, dtype=np.float32)


def lotteries(*numbers):
    return [number.to_bytes(8, "big") for number in numbers]


def test_a_quality_is_binned_on_the_scale_of_the_data():
    assert in_bins(signal(0, 0.19, 0.2, 0.99, 1), "quality").tolist() == [0, 0, 1, 4, 5]
    assert in_bins(signal(0, 2.5, 5), "quality").tolist() == [0, 2, 5]
    assert in_bins(signal(50, 100), "quality").tolist() == [2, 5]


def test_a_share_is_binned_by_fifths_whatever_its_largest_value():
    assert in_bins(signal(0, 0.5, 0.5), "share").tolist() == [0, 2, 2]
    assert in_bins(signal(0, 1), "share").tolist() == [0, 5]


def test_another_signal_is_binned_by_sixths_of_the_pool():
    assert in_bins(signal(60, 10, 20, 50, 40, 30), "quantile").tolist() == [5, 0, 1, 4, 3, 2]
    assert in_bins(signal(7, 7, 7), "quantile").tolist() == [3, 3, 3]  # equal values are in one bin


def test_an_unknown_value_is_in_the_middle():
    assert in_bins(signal(0, NAN, 0.4, 1), "quality").tolist() == [0, 2, 2, 5]
    assert in_bins(signal(0.2, NAN, 1), "quality").tolist() == [1, 5, 5]  # of two middle ones the higher
    assert in_bins(signal(NAN, NAN), "quality").tolist() == [0, 0]
    assert with_median(signal(9, NAN, 1, 4)).tolist() == [9, 4, 1, 4]


def test_the_first_signal_decides_then_the_bins_of_the_second_then_the_value_of_the_last():
    quality, parses = signal(1, 1, 1, 0.9, 1), signal(1, 1, 0, 1, 1)
    rarity = signal(0.1, 0.2, 0.9, 0.9, 0.3)
    places = lexicographic([quality, parses, rarity], ["quality", "share", "quantile"], lotteries(0, 0, 0, 0, 0))
    assert places.tolist() == [2, 1, 3, 4, 0]


def test_the_last_signal_is_not_binned_and_its_unknown_values_are_at_the_median():
    places = lexicographic([signal(0.81, NAN, 0.95, 0.2)], ["quality"], lotteries(0, 1, 2, 3))
    assert places.tolist() == [1, 2, 0, 3]  # the median of three is 0.81, and the lottery parts the two


def test_equals_come_in_the_order_of_their_lottery():
    places = lexicographic([signal(1, 1, 1)], ["share"], lotteries(2**64 - 1, 0, 2**63))
    assert places.tolist() == [2, 0, 1]
    assert by_mean([signal(1, 1, 1)], lotteries(2**64 - 1, 0, 2**63)).tolist() == [2, 0, 1]


def test_the_mean_is_one_of_places_in_the_pool():
    """Shares of the pool at or below, their middle: 1/6, 3/6, 5/6 and 1/4, 3/4; unknown is one half."""
    assert ranks(signal(5, 1, 3)).tolist() == pytest.approx([5 / 6, 1 / 6, 3 / 6])
    assert ranks(signal(5, NAN, 3)).tolist() == pytest.approx([3 / 4, 1 / 2, 1 / 4])
    assert ranks(signal(2, 2, 9)).tolist() == pytest.approx([1 / 3, 1 / 3, 5 / 6])
    assert by_mean([signal(5, 1, 3), signal(5, NAN, 3)], lotteries(0, 0, 0)).tolist() == [0, 2, 1]


def test_a_signal_without_any_value_changes_nothing():
    known, nothing = signal(3, 1, 2), signal(NAN, NAN, NAN)
    draws = lotteries(0, 0, 0)
    assert lexicographic([nothing, known], ["quality", "quantile"], draws).tolist() == [0, 2, 1]
    assert by_mean([nothing, known], draws).tolist() == [0, 2, 1]
