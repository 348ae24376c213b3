"""The published files of the benchmarks: counts, fields, prompts, limits, and the solutions in answers to them."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.evaluate.direct import error_of
from tests.evaluate.public import public_module

from codeblock.core.errors import CodeBlockError
from codeblock.evaluate.benchmarks import BENCHMARKS, Benchmark, load
from codeblock.evaluate.benchmarks.base import rows
from codeblock.evaluate.benchmarks.evalplus import ANSWER, REQUEST
from codeblock.evaluate.benchmarks.mbppplus import MbppPlus
from codeblock.sandbox.compare import COMPARE
from codeblock.sandbox.oracles import Cases, Script, UnitTest

FILES = {
    "humaneval": ("humaneval/HumanEval.jsonl.gz", 164),
    "humanevalplus": ("humanevalplus/HumanEvalPlus.jsonl.gz", 164),
    "mbpp": ("mbpp/mbpp.jsonl", 500),
    "mbpp_all": ("mbpp/mbpp.jsonl", 974),
    "mbppplus": ("mbppplus/MbppPlus.jsonl.gz", 378),
    "bigcodebench_complete": ("bigcodebench/BigCodeBench.jsonl.gz", 1140),
    "bigcodebench_instruct": ("bigcodebench/BigCodeBench.jsonl.gz", 1140),
    "bigcodebench_hard_complete": ("bigcodebench/BigCodeBench_Hard.jsonl.gz", 148),
    "bigcodebench_hard_instruct": ("bigcodebench/BigCodeBench_Hard.jsonl.gz", 148),
}
LOADED: dict[str, Benchmark] = {}

Open = Callable[[str], Benchmark]


@pytest.fixture
def benchmark_of(real_data: Path) -> Open:
    """The benchmark of a name from its published file, read once."""

    def read(name: str) -> Benchmark:
        if name not in LOADED:
            LOADED[name] = load(name, str(real_data / "benchmarks" / FILES[name][0]))
        return LOADED[name]

    return read


@pytest.mark.parametrize("name", FILES)
def test_the_published_file_has_all_its_tasks_and_is_known(name: str, benchmark_of: Open) -> None:
    assert len(benchmark_of(name).tasks) == FILES[name][1]
    assert benchmark_of(name).provenance == f"official {name} file"


def test_every_benchmark_is_tested_here() -> None:
    assert {*FILES, "tiny", "humanevalx_js"} == set(BENCHMARKS)  # the latter in test_humanevalx


def test_sanitized_mbpp(real_data: Path) -> None:
    path = str(real_data / "benchmarks" / "mbpp" / "sanitized-mbpp.json")
    every, tested = load("mbpp_all", path), load("mbpp", path)
    assert (len(every.tasks), len(tested.tasks)) == (427, 257)
    assert load("mbpp", path, limit=3).tasks == tested.tasks[:3]
    assert tested.text(tested.tasks[0]).startswith(
        "You are an expert Python programmer, and here is your task: Write a function"
    )
    imports = [task for task in every.tasks if isinstance(task.oracle, Script) and task.oracle.setup]
    assert len(imports) == 14  # 13 of the file; a test of Mbpp/596 uses a module that its reference imports
    assert all("import" in task.oracle.setup for task in imports if isinstance(task.oracle, Script))


def test_mbpp_prompts(benchmark_of: Open) -> None:
    benchmark = benchmark_of("mbpp")
    task = benchmark.tasks[0]
    assert (task.task_id, task.entry_point) == ("Mbpp/11", "remove_Occ")
    (message,) = benchmark.messages(task)
    assert message["content"].endswith(
        '```python\n"""\nWrite a python function to remove first and last occurrence of a given character from the string.\n'
        'assert remove_Occ("hello","l") == "heo"\n"""\n```'
    )
    text = benchmark.text(task)
    assert text.count("[BEGIN]\n") == text.count("\n[DONE]\n") == 3
    assert text.startswith(
        "You are an expert Python programmer, and here is your task: Write a function to find the similar elements from the "
        "given two tuple lists. Your code should pass these tests:\n\nassert similar_elements((3, 4, 5, 6),(5, 7, 4, 10)) == "
    )
    assert text.endswith('assert remove_Occ("PHP","P") == "H"\n[BEGIN]')
    answer = f"\n{task.reference}\n[DONE]\nYou are an expert"
    assert not error_of(task, benchmark.code(task, benchmark.completion(task, answer, base=True)))


def test_a_file_without_the_shots_can_only_be_asked_in_a_chat(real_data: Path, tmp_path: Path) -> None:
    lines = (real_data / "benchmarks" / "mbpp" / "mbpp.jsonl").read_text().splitlines()
    (tmp_path / "test.jsonl").write_text("\n".join(lines[10:20]))
    benchmark = load("mbpp", str(tmp_path / "test.jsonl"))
    assert benchmark.messages(benchmark.tasks[0])
    with pytest.raises(CodeBlockError, match="lacks the tasks 2, 3 and 4"):
        benchmark.text(benchmark.tasks[0])
    (tmp_path / "train.jsonl").write_text("\n".join(lines[600:]))
    with pytest.raises(CodeBlockError, match="use mbpp_all"):
        load("mbpp", str(tmp_path / "train.jsonl"))


@pytest.mark.parametrize("name", ["humanevalplus", "mbppplus"])
def test_evalplus_protocol(name: str, benchmark_of: Open) -> None:
    benchmark = benchmark_of(name)
    assert benchmark.max_new_tokens == 768
    assert benchmark.sample_field == "solution"
    assert "\n```\n" in benchmark.chat_stops
    for task in benchmark.tasks:
        oracle = task.oracle
        assert isinstance(oracle, Cases)
        assert 0 < oracle.base <= len(oracle.inputs)
        assert oracle.compare in COMPARE
        assert (task.limits.timeout_seconds, task.limits.reference_factor) == (4.0, 4.0)
        assert (task.limits.total_seconds, task.limits.memory_mb) == (60.0, 4096)
        assert benchmark.text(task) == task.prompt.strip() + "\n"
    user, assistant = benchmark.messages(task)
    assert user["content"] == (
        "Please provide a self-contained Python script that solves the following problem in a markdown code block:\n"
        f"```\n{task.prompt.strip()}\n```\n"
    )
    assert assistant["content"].endswith("solves the problem and passes corresponding tests:\n```python\n")


def test_evalplus_rules_and_tolerances(benchmark_of: Open) -> None:
    def rules(name: str) -> dict[str, str]:
        oracles = {task.task_id: task.oracle for task in benchmark_of(name).tasks}
        return {key: each.compare for key, each in oracles.items() if isinstance(each, Cases) and each.compare != "equal"}

    assert rules("humanevalplus") == {"HumanEval/32": "root"}
    assert rules("mbppplus") == {
        **{f"Mbpp/{number}": "same_set" for number in (2, 7, 111, 140, 232, 579, 769)},
        **{f"Mbpp/{number}": "not_none" for number in (737, 787, 794)},
        "Mbpp/558": "digit_distance",
        "Mbpp/581": "surface_area",
    }


def test_mbppplus_arguments_are_python_values(benchmark_of: Open) -> None:
    def first(number: int) -> object:
        task = next(task for task in benchmark_of("mbppplus").tasks if task.task_id == f"Mbpp/{number}")
        assert isinstance(task.oracle, Cases)
        return task.oracle.inputs[0]

    assert first(2) == [(3, 4, 5, 6), (5, 7, 4, 10)]
    assert first(124) == [0.0, 1j]
    assert first(252) == [1 + 0j]
    assert first(278) == [(1, 5, 7, (4, 6), 10)]
    assert first(580) == [(4, 5, (7, 6, (2, 4)), 6, 8)]
    assert first(722) == [
        {"Cierra Vega": (6.2, 70), "Alden Cantrell": (5.9, 65), "Kierra Gentry": (6.0, 68), "Pierre Cox": (5.8, 66)},
        6.0,
        70,
    ]


def answers_with(code: str) -> list[str]:
    return [
        code,
        f"{code}\n\n# Example\nprint(1)\n",
        f"{code}\n```\nThis works because it's simple:\n- one\n- two (2)\n",  # after an opened fence
        f"Sure! Here's a solution:\n\n```python\n{code}\n```\n\nIt's O(n).",
        f"{code}\n\nif __name__ == '__main__':\n    import sys\n    print(sys.argv[",
    ]


@pytest.mark.parametrize("name", ["humanevalplus", "mbppplus"])
def test_the_solution_of_every_task_is_found_in_prose(name: str, benchmark_of: Open) -> None:
    benchmark = benchmark_of(name)
    for number, task in enumerate(benchmark.tasks):
        whole = benchmark.code(task, task.reference).replace("\t", "    ")
        plain = benchmark.completion(task, whole)
        names = {node.name for node in ast.parse(plain).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert task.entry_point in names, task.task_id
        answer = answers_with(whole)[number % 5]  # all five for every task would take a minute
        assert benchmark.completion(task, answer) == plain, task.task_id
        assert benchmark.completion(task, task.reference.replace("\t", "    "), base=True) == plain, task.task_id


@pytest.mark.parametrize("name", ["humaneval", "mbpp_all"])
def test_the_solution_of_every_task_is_found_by_our_own_extraction(name: str, benchmark_of: Open) -> None:
    benchmark = benchmark_of(name)
    for number, task in enumerate(benchmark.tasks):
        whole = benchmark.code(task, task.reference)
        for answer in (f"```python\n{answers_with(whole)[number % 3]}", answers_with(whole)[3]):
            found = benchmark.code(task, benchmark.completion(task, answer))
            assert whole.strip() in found, task.task_id
            ast.parse(found)


def test_bigcodebench_needs(benchmark_of: Open) -> None:
    tasks = {task.task_id: task for task in benchmark_of("bigcodebench_complete").tasks}
    assert sum(not task.needs for task in tasks.values()) == 300
    assert sum(not task.needs for task in benchmark_of("bigcodebench_hard_complete").tasks) == 33
    assert tasks["BigCodeBench/3"].needs == ("numpy",)
    assert tasks["BigCodeBench/272"].needs == ("requests", "requests_mock")  # only its tests import them


@pytest.mark.parametrize("size", ["", "hard_"])
def test_bigcodebench_protocol(size: str, benchmark_of: Open) -> None:
    complete, instruct = (benchmark_of(f"bigcodebench_{size}{way}") for way in ("complete", "instruct"))
    assert complete.max_new_tokens == instruct.max_new_tokens == 1280
    for task, other in zip(complete.tasks, instruct.tasks, strict=True):
        assert task == other
        assert isinstance(task.oracle, UnitTest)
        assert (task.limits.timeout_seconds, task.limits.memory_mb) == (240.0, 30720)
        assert task.head.endswith(":\n\n    pass\n")
        assert complete.text(task) == task.prompt
        ast.parse(complete.code(task, task.reference))
    request = "Please provide a self-contained Python script that solves the following problem in a markdown code block:\n"
    assert complete.messages(task)[0]["content"] == f"{request}```\n{task.prompt.strip()}\n```\n"
    assert instruct.messages(task)[0]["content"] == f"{request}{task.question.strip()}\n"
    assert complete.messages(task)[1] == instruct.messages(task)[1]
    with pytest.raises(CodeBlockError, match=f"use bigcodebench_{size}complete"):
        instruct.text(task)


def test_bigcodebench_answers_are_graded_calibrated(benchmark_of: Open) -> None:
    benchmark = benchmark_of("bigcodebench_complete")
    task = next(task for task in benchmark.tasks if task.task_id == "BigCodeBench/22")
    whole = task.prompt + task.reference
    stored = benchmark.completion(task, f"{whole}\n```\nDone.")
    assert benchmark.graded(task, stored) == task.head + stored
    assert benchmark.completion(task, task.reference, base=True) == stored
    assert not error_of(task, benchmark.graded(task, stored))
    # The calibration: the imports of the prompt are there, whether or not the answer has them.
    function = stored[stored.index("def ") :]
    assert not error_of(task, benchmark.from_solution(task, function))
    assert "NameError" in error_of(task, function)


def test_the_public_packages_ask_and_convert_the_same(
    benchmark_of: Open, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tokenizer:
        chat_template = "{% ... %}"

        def apply_chat_template(self, messages: list[dict[str, str]], tokenize: bool) -> str:
            assert not tokenize
            return "".join(f"<|{each['role']}|>{each['content']}<|end|>\n" for each in messages)

    def prompt(chat: list[dict[str, str]]) -> str:
        return Tokenizer().apply_chat_template(chat, tokenize=False).removesuffix("<|end|>\n")

    public = public_module("evalplus.provider.utility", monkeypatch)
    for name, dataset in {"humanevalplus": "humaneval", "mbppplus": "mbpp"}.items():
        benchmark = benchmark_of(name)
        assert list(benchmark.stops) == public.EOS + public.extra_eos_for_direct_completion(dataset)
        for task in benchmark.tasks:
            asked = public.make_raw_chat_prompt(task.prompt.strip() + "\n", REQUEST, ANSWER, Tokenizer())
            assert prompt(benchmark.messages(task)) == asked
    public = public_module("bigcodebench.provider.utility", monkeypatch)
    for way in ("complete", "instruct"):
        benchmark = benchmark_of(f"bigcodebench_{way}")
        assert list(benchmark.stops) == public.EOS + public.extra_eos_for_direct_completion("bigcodebench")
        for task in benchmark.tasks:
            text = task.prompt if way == "complete" else task.question
            assert prompt(benchmark.messages(task)) == public.make_raw_chat_prompt(
                text, "full", way, REQUEST, ANSWER, Tokenizer()
            )
    public = public_module("evalplus.data.mbpp", monkeypatch)
    for _, row in rows(real_data / "benchmarks" / FILES["mbppplus"][0], "MBPP+"):
        for stored in (row["base_input"], row["plus_input"] or []):
            converted = public.mbpp_deserialize_inputs(row["task_id"], stored)
            ours = [MbppPlus.arguments(row["task_id"], each) for each in stored]
            assert repr(ours) == repr([list(each) for each in converted])
