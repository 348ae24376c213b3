"""The nll of reference solutions: which tokens count, their values against full logits, tasks that do not count."""

from __future__ import annotations

import ast
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch

from codeblock.core.config import ClusterConfig, EvaluateConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.metrics import mean_interval
from codeblock.core.models import load as models
from codeblock.core.models.ref import ModelRef
from codeblock.core.storage.tables import read_part
from codeblock.evaluate.benchmarks import Benchmark, PromptKind, load
from codeblock.evaluate.benchmarks.bigcodebench import BigCodeBenchInstruct
from codeblock.evaluate.benchmarks.humaneval import HumanEval
from codeblock.evaluate.benchmarks.mbpp import Mbpp
from codeblock.evaluate.prompts import make_prompt, make_requests
from codeblock.evaluate.reference_nll import REFERENCE_NLL, RenderedReference, reference_nll, render
from codeblock.evaluate.reference_nll_driver import NllJob, facts_of, fill_parts, finish
from codeblock.evaluate.stored_nll import read_reference_nll

HEAD = 'def double(x):\n    """Twice x."""\n'
BODY = "    return 2 * x\n"
HUMANEVAL = HumanEval(
    [
        HumanEval.task(
            {"task_id": "H/0", "prompt": HEAD, "entry_point": "double", "canonical_solution": BODY, "test": "def check(f): 0"},
            "here",
        )
    ]
)


def naive(model: Any, rendered: RenderedReference) -> tuple[float, float]:
    """Mean nll of the code and of what closes it, from all logits of the pair alone."""
    ids = torch.tensor(rendered.ids_T.astype(np.int64))[None]
    with torch.inference_mode():
        log_probs = model(input_ids=ids).logits[0].log_softmax(-1)
    nll = [-float(log_probs[place - 1, ids[0, place]]) for place in range(1, ids.shape[1])]
    code, closing = nll[rendered.code_start - 1 : rendered.code_end - 1], nll[rendered.code_end - 1 :]
    return float(np.mean(code)), float(np.mean(closing))


def texts(tokenizer: Any, rendered: RenderedReference) -> tuple[str, str, str]:
    ids = rendered.ids_T.tolist()
    cuts = ids[: rendered.code_start], ids[rendered.code_start : rendered.code_end], ids[rendered.code_end :]
    before, code, after = (tokenizer.decode(each) for each in cuts)
    return before, code, after


def test_in_a_chat_the_code_of_the_answer_counts_and_its_fence_and_end_do_not(loaded: tuple[Any, Any], tiny: Benchmark) -> None:
    tokenizer, task = loaded[1], tiny.tasks[1]
    before, code, after = texts(tokenizer, render(tokenizer, tiny, task, "chat"))
    assert before == f"<|user|>{task.prompt}<|end|>\n<|assistant|>```python\n"
    assert code == "def plus_1(x):\n    return x + 1"
    assert after == "\n```<|end|>"


def test_the_head_that_a_question_gives_is_repeated_and_does_not_count(loaded: tuple[Any, Any]) -> None:
    before, code, _ = texts(loaded[1], render(loaded[1], HUMANEVAL, HUMANEVAL.tasks[0], "chat"))
    assert before.endswith(f"<|assistant|>```python\n{HEAD}")
    assert code == "    return 2 * x"


def test_a_completion_of_the_text_goes_on_from_it(loaded: tuple[Any, Any], tiny: Benchmark) -> None:
    before, code, after = texts(loaded[1], render(loaded[1], HUMANEVAL, HUMANEVAL.tasks[0], "base"))
    assert (before, code, after) == (HEAD, "    return 2 * x", "")
    before, code, after = texts(loaded[1], render(loaded[1], tiny, tiny.tasks[1], "base"))
    assert (before.endswith("\n\n```python\n"), after) == (True, "\n```")


@pytest.mark.parametrize("prompt", ["chat", "base"])
def test_the_prompt_is_that_of_the_evaluation(loaded: tuple[Any, Any], tiny: Benchmark, prompt: PromptKind) -> None:
    tokenizer = loaded[1]
    for task in tiny.tasks:
        [request] = make_requests(tokenizer, tiny, [(task, 0)], prompt, 0)
        assert render(tokenizer, tiny, task, prompt).ids_T[: len(request.ids)].tolist() == request.ids


def test_a_token_that_holds_a_character_of_the_code_counts(make_tokenizer_dir: Any, tmp_path: Path) -> None:
    """The line end of the head and the indentation of the body are one token here; so are a bracket and its line end."""
    tokenizer = models.load_tokenizer(make_tokenizer_dir(tmp_path))
    rendered = render(tokenizer, HUMANEVAL, HUMANEVAL.tasks[0], "chat")
    tokens = [tokenizer.decode([each]) for each in rendered.ids_T[rendered.code_start : rendered.code_end].tolist()]
    assert "".join(tokens).strip() == "return 2 * x"
    assert "".join(tokens).strip("\n") == "    return 2 * x"


@pytest.mark.parametrize("prompt", ["chat", "base"])
def test_values_equal_those_of_all_logits(loaded: tuple[Any, Any], tiny: Benchmark, prompt: PromptKind) -> None:
    model, tokenizer = loaded
    rendered = [render(tokenizer, tiny, task, prompt) for task in tiny.tasks]
    table = reference_nll(model, rendered, 1000, 300)
    assert table.schema == REFERENCE_NLL
    for row, each in zip(table.to_pylist(), rendered, strict=True):
        assert (row["nll"], row["closing_nll"]) == pytest.approx(naive(model, each), rel=1e-5)
        assert row["tokens"] + row["closing_tokens"] + each.code_start == row["length"] == each.ids_T.size
        assert row["reason"] is None


def test_a_task_that_does_not_fit_and_one_without_a_reference_say_why(loaded: tuple[Any, Any], tiny: Benchmark) -> None:
    model, tokenizer = loaded
    tasks = [tiny.tasks[0], tiny.tasks[1], replace(tiny.tasks[2], reference="\n")]
    rendered = [render(tokenizer, tiny, task, "chat") for task in tasks]
    sizes = [each.ids_T.size for each in rendered]
    assert sizes[0] < sizes[1]
    table = reference_nll(model, rendered, sizes[0], 300)
    assert table["reason"].to_pylist() == [None, "longer_than_context", "empty_reference"]
    assert [nll is None for nll in table["nll"].to_pylist()] == [False, True, True]
    facts = facts_of(table)
    assert (facts["tasks"], facts["reasons"]) == (1, {"longer_than_context": 1, "empty_reference": 1})
    assert (facts["low"], facts["high"]) == (None, None), "one task has no interval"


def test_facts_are_means_over_tasks_with_students_interval(loaded: tuple[Any, Any], tiny: Benchmark) -> None:
    model, tokenizer = loaded
    table = reference_nll(model, [render(tokenizer, tiny, task, "chat") for task in tiny.tasks], 1000, 300)
    nll = np.array(table["nll"].to_pylist())
    facts = facts_of(table)
    half = 2.446911848791681 * nll.std(ddof=1) / math.sqrt(7)  # the 97.5% point of Student's t with 6 degrees of freedom
    assert facts["nll"] == pytest.approx(nll.mean())
    assert (facts["low"], facts["high"]) == pytest.approx((nll.mean() - half, nll.mean() + half))
    assert mean_interval([0.5, 0.5]) == (0.5, 0.5)


def test_parts_become_one_table_in_the_order_of_the_tasks(
    ray_cluster: None, model_directory: Path, tiny: Benchmark, loaded: tuple[Any, Any], tmp_path: Path
) -> None:
    job = NllJob(ModelRef(str(model_directory)), tiny, tmp_path)
    fill_parts([job], EvaluateConfig(), ClusterConfig(cpus_per_worker=0.5))
    fill_parts([job], EvaluateConfig(), ClusterConfig(actors=64))  # nothing is missing, so no actor is asked for
    facts = finish(job)
    model, tokenizer = loaded
    direct = {each.task_id: naive(model, each)[0] for each in (render(tokenizer, tiny, t, "chat") for t in tiny.tasks)}
    fits = {task: nll for task, nll in direct.items() if task in read_reference_nll(tmp_path)}
    assert read_reference_nll(tmp_path) == pytest.approx(fits, rel=1e-5)
    assert facts["tasks"] == len(fits)
    assert facts["tasks"] + facts["reasons"].get("longer_than_context", 0) == 7
    assert facts["seconds"] > 0
    assert facts["worker_peak_mb"] > 50
    table = read_part(tmp_path / "reference_nll.parquet")
    assert table["task_id"].to_pylist() == [task.task_id for task in tiny.tasks]
    assert [path.name for path in tmp_path.iterdir()] == ["reference_nll.parquet"]


def test_parts_that_other_nodes_wrote_elsewhere_are_missed(tiny: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(CodeBlockError, match=r"^reference nll: what was written on other nodes is not in "):
        finish(NllJob(ModelRef("any"), tiny, tmp_path))


def test_adapters_are_part_of_the_model(model_directory: Path, tiny: Benchmark, tmp_path: Path) -> None:
    torch.manual_seed(1)
    settings = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    adapted = peft.get_peft_model(models.load_model(str(model_directory)), settings).eval()
    adapted.save_pretrained(tmp_path)
    tokenizer = models.load_tokenizer(str(model_directory))
    rendered = [render(tokenizer, tiny, task, "chat") for task in tiny.tasks[:2]]
    loaded_nll = reference_nll(models.load_model(str(tmp_path)), rendered, 1000, 300)["nll"].to_pylist()
    assert loaded_nll == pytest.approx([naive(adapted, each)[0] for each in rendered], rel=1e-5)
    base = reference_nll(models.load_model(str(model_directory)), rendered, 1000, 300)["nll"].to_pylist()
    assert abs(base[0] - loaded_nll[0]) > 1e-3


FILES = {
    "humaneval": "humaneval/HumanEval.jsonl.gz",
    "humanevalplus": "humanevalplus/HumanEvalPlus.jsonl.gz",
    "mbpp": "mbpp/mbpp.jsonl",
    "mbppplus": "mbppplus/MbppPlus.jsonl.gz",
    "bigcodebench_complete": "bigcodebench/BigCodeBench_Hard.jsonl.gz",
    "bigcodebench_instruct": "bigcodebench/BigCodeBench_Hard.jsonl.gz",
}


@pytest.mark.parametrize("name", FILES)
def test_the_answer_is_the_official_solution_of_every_task(name: str, real_data: Path) -> None:
    """The same syntax tree as the question's head with the reference, as a chat's answer and as a completion."""
    benchmark = load(name, str(real_data / "benchmarks" / FILES[name]))
    for task in benchmark.tasks:
        last = benchmark.messages(task)[-1]
        begun = last["content"] if last["role"] == "assistant" else ""
        answer = benchmark.reference_answer(task, base=False, begun=begun)
        fenced = (begun + answer.before + answer.code + answer.after).split("```python\n")[-1]
        head = benchmark.given(task)
        official = ast.dump(ast.parse(f"{head}\n{task.reference}"))
        assert fenced.endswith("\n```"), task.task_id
        assert ast.dump(ast.parse(fenced.removesuffix("\n```"))) == official, task.task_id
        if isinstance(benchmark, BigCodeBenchInstruct):
            continue
        base = benchmark.reference_answer(task, base=True)
        if isinstance(benchmark, Mbpp):
            assert (base.before, base.after) == ("\n", "\n[DONE]")
            continue
        whole = benchmark.text(task) + base.before + base.code + base.after
        assert ast.dump(ast.parse(whole)) == ast.dump(ast.parse(task.prompt + task.reference)), task.task_id


def test_a_question_in_words_gives_the_head_without_its_docstring(real_data: Path) -> None:
    path = str(real_data / "benchmarks" / FILES["bigcodebench_instruct"])
    instruct, complete = load("bigcodebench_instruct", path), load("bigcodebench_complete", path)
    for asked, shown in zip(instruct.tasks, complete.tasks, strict=True):
        assert complete.given(shown) == shown.prompt
        assert instruct.given(asked).strip().splitlines()[-1] in asked.question
        assert len(instruct.given(asked)) < len(shown.prompt)


def test_make_prompt_says_how_it_was_asked(loaded: tuple[Any, Any], tiny: Benchmark) -> None:
    assert not make_prompt(loaded[1], tiny, tiny.tasks[0], "auto").base
    assert make_prompt(loaded[1], tiny, tiny.tasks[0], "base").text == tiny.text(tiny.tasks[0])
