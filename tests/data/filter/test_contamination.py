"""Decontamination on made-up texts and on the real HumanEval and MBPP."""

import gzip
import json

import pytest

from codeblock.core.config import FilterConfig
from codeblock.data.filter.contamination import BenchmarkText, Index, write_index
from codeblock.data.filter.stage import screen
from codeblock.data.filter.words import words

ALONE = FilterConfig(near_duplicates=None)
PROMPT = "Write a function that takes two lists of numbers and returns the sum of all products of pairs."
TASK = BenchmarkText("made", "made/1", PROMPT, "def f(a, b):\n    return sum(x * y for x in a for y in b)\n")


def index_of(references, directory, length=13):
    write_index(references, length, directory / "index.parquet")
    return Index(directory / "index.parquet", length)


def reasons(found):
    return dict(zip(found.rejected["id"].to_pylist(), found.rejected["detail"].to_pylist(), strict=True))


@pytest.fixture(scope="module")
def benchmarks(real_data):
    """All tasks of HumanEval and MBPP."""
    with gzip.open(real_data / "benchmarks/humaneval/HumanEval.jsonl.gz", "rt") as file:
        tasks = [json.loads(line) for line in file]
    found = [BenchmarkText("humaneval", task["task_id"], task["prompt"], task["canonical_solution"]) for task in tasks]
    with (real_data / "benchmarks/mbpp/mbpp.jsonl").open() as file:
        tasks = [json.loads(line) for line in file]
    return [*found, *(BenchmarkText("mbpp", str(task["task_id"]), task["text"], task["code"]) for task in tasks)]


def test_a_shared_run_is_found_whatever_the_layout_and_the_case(tmp_path, pairs_table):
    index = index_of([TASK], tmp_path)
    inside = "Please: WRITE a function that\ntakes two lists - of numbers, and returns 'the sum', quickly!"
    table = pairs_table([(inside, "ok"), ("Add two numbers.", "def add(a, b): return a + b")])
    found = screen(table, ALONE, index)
    assert found.kept.tolist() == [1]
    assert found.rejected["reason"].to_pylist() == ["contaminated"]
    (detail,) = reasons(found).values()
    assert detail == "made, made/1: write a function that takes two lists of numbers and returns the sum"


def test_a_solution_in_the_response_is_found(tmp_path, pairs_table):
    found = screen(pairs_table([("Do it.", f"Sure.\n```python\n{TASK.solution}```")]), ALONE, index_of([TASK], tmp_path))
    assert "def f a b return sum x y for x in a for" in next(iter(reasons(found).values()))


def test_a_run_that_is_one_word_short_is_not(tmp_path):
    index = index_of([TASK], tmp_path)
    run = words(PROMPT)[2:15]
    assert index.find(["x", *run, "y"], ["x"]) is not None
    assert index.find(["x", *run[:12], "y"], ["x"]) is None


def test_a_prompt_shorter_than_a_run_is_held_against_the_whole_request(tmp_path, pairs_table):
    index = index_of([BenchmarkText("made", "2", "Write a python function to sort a list.", "sorted")], tmp_path)
    table = pairs_table(
        [("write a Python function to sort a list", "x"), ("Write a python function to sort a list of words.", "x")]
    )
    assert screen(table, ALONE, index).kept.tolist() == [1]


def test_every_task_of_humaneval_and_mbpp_is_found_in_a_pair_that_holds_it(benchmarks, tmp_path, pairs_table):
    """By its prompt alone; and with the prompt in other words, by its solution where that has 13 words."""
    index = index_of(benchmarks, tmp_path)
    prompts = pairs_table([(task.prompt, "I do not know.") for task in benchmarks])
    assert screen(prompts, ALONE, index).kept.size == 0
    long = [task for task in benchmarks if len(words(task.solution)) >= 13]
    solutions = pairs_table([("Do it.", f"Here it is:\n\n{task.solution}") for task in long])
    assert screen(solutions, ALONE, index).kept.size == 0
    assert len(long) > 900


@pytest.mark.parametrize(
    ("path", "columns", "share"),
    [
        ("pairs/codealpaca20k/codealpaca20k.jsonl.gz", {}, 0.01),
        ("pairs/leetcode/LeetCodeDataset-v0.2.0-train.jsonl.gz", {}, 0.03),
    ],
)
def test_few_real_pairs_share_a_run_and_each_names_it(benchmarks, tmp_path, read_real, path, columns, share):
    pairs = read_real(path, **columns)
    found = screen(pairs, ALONE, index_of(benchmarks, tmp_path))
    assert 0 < found.rejected.num_rows < share * pairs.num_rows
    runs = {" ".join(words(f"{task.prompt}")) + "\n" + " ".join(words(task.solution)) for task in benchmarks}
    for detail in reasons(found).values():
        run = detail.split(": ", 1)[1]
        assert run == "the whole request is its prompt" or any(run in text for text in runs)
