"""The scale of quality."""

import pytest

from codeblock.core.quality import factor_to_scale, quality_bin


@pytest.mark.parametrize(("largest", "factor"), [(0, 5), (0.9, 5), (1, 5), (1.5, 1), (5, 1), (10, 0.5), (100, 0.05)])
def test_any_column_is_brought_to_five(largest, factor):
    assert factor_to_scale(largest) == factor


@pytest.mark.parametrize(("quality", "bin_"), [(0, 0), (0.19, 0), (0.2, 1), (0.6, 3), (0.99, 4), (1, 5), (-1, 0)])
def test_a_bin_is_a_step_that_was_reached(quality, bin_):
    assert quality_bin(quality, 5.0) == bin_
