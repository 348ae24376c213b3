"""Old names of modules: they lead to the new ones, and hide nothing that has taken their place."""

import importlib.util
import subprocess
import sys

import pytest

from codeblock.moved import MOVED, new_name


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_name_leads_to_a_module_that_there_is(old):
    assert importlib.util.find_spec(f"codeblock.{MOVED[old]}") is not None
    assert new_name(f"codeblock.{old}") == f"codeblock.{MOVED[old]}"


def test_the_longest_name_counts_and_others_are_left_alone():
    assert new_name("codeblock.pairs.files") == "codeblock.data.read.files"
    assert new_name("codeblock.pairs.json_values") == "codeblock.core.json_values"
    assert new_name("codeblock.data.read.files") is None
    assert new_name("codeblock") is None
    assert new_name("other.pairs") is None


def test_what_is_imported_by_an_old_name_is_the_same_and_a_warning_says_the_new_one():
    code = """
import warnings
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    from codeblock.errors import CodeBlockError
    from codeblock.segment import find_regions
import codeblock, codeblock.core.errors, codeblock.segmentation
assert CodeBlockError is codeblock.core.errors.CodeBlockError
assert find_regions is codeblock.segmentation.find_regions
assert codeblock.segment("x = 1", "python").items, "the function is hidden by the old package"
assert [str(each.message) for each in told if each.category is DeprecationWarning] == [
    "codeblock.errors is codeblock.core.errors now", "codeblock.segment is codeblock.segmentation now"]
try:
    import codeblock.nowhere
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "No module named 'codeblock.nowhere'"
