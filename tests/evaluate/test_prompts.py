"""A chat where the tokenizer has a template of its own, else the benchmark's text; an answer may have begun already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from codeblock.core.errors import CodeBlockError
from codeblock.core.models.load import DEFAULT_TEMPLATE, load_tokenizer
from codeblock.evaluate.answers import sample_seed
from codeblock.evaluate.benchmarks import Benchmark, Task
from codeblock.evaluate.benchmarks.base import Message
from codeblock.evaluate.benchmarks.tiny import Tiny
from codeblock.evaluate.prompts import check_prompts, goes_on_from_text, make_requests


@dataclass(frozen=True)
class Begun(Tiny):
    """Begins the answer, as BigCodeBench and EvalPlus do."""

    stops: ClassVar[tuple[str, ...]] = ("\nassert",)
    chat_stops: ClassVar[tuple[str, ...]] = ("\n```",)
    beginning: ClassVar[str] = "Here it is:\n```python\n"

    def messages(self, task: Task) -> list[Message]:
        return [*super().messages(task), {"role": "assistant", "content": self.beginning}]


@pytest.fixture(scope="module")
def begun(tiny: Benchmark) -> Benchmark:
    return Begun(tiny.tasks)


@pytest.fixture(scope="module")
def chat_tokenizer(loaded: tuple[Any, Any]) -> Any:
    return loaded[1]


@pytest.fixture
def without_template(make_tokenizer_dir: Any, tmp_path: Path) -> Any:
    return load_tokenizer(make_tokenizer_dir(tmp_path, None))


def test_a_chat_is_rendered_in_the_template_with_the_start_of_an_answer(chat_tokenizer: Any, tiny: Benchmark) -> None:
    task = tiny.tasks[0]
    [request] = make_requests(chat_tokenizer, tiny, [(task, 0)], "auto", 0)
    assert chat_tokenizer.decode(request.ids) == f"<|user|>{task.prompt}<|end|>\n<|assistant|>"
    assert (request.base, request.begun, request.stops) == (False, "", ())


def test_an_answer_that_has_begun_is_gone_on_with(chat_tokenizer: Any, begun: Benchmark) -> None:
    [request] = make_requests(chat_tokenizer, begun, [(begun.tasks[0], 0)], "chat", 0)
    assert chat_tokenizer.decode(request.ids).endswith("<|assistant|>Here it is:\n```python\n")
    assert (request.begun, request.stops) == ("Here it is:\n```python\n", ("\n```",))


def test_a_template_that_strips_its_messages_says_how_the_answer_really_begins(
    chat_tokenizer: Any, begun: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = chat_tokenizer.chat_template.replace("message['content']", "message['content'] | trim")
    monkeypatch.setattr(chat_tokenizer, "chat_template", template)
    [request] = make_requests(chat_tokenizer, begun, [(begun.tasks[0], 0)], "chat", 0)
    assert request.begun == "Here it is:\n```python"
    assert chat_tokenizer.decode(request.ids).endswith(request.begun)


def test_a_base_model_gets_the_text_and_the_base_stops(without_template: Any, begun: Benchmark) -> None:
    task = begun.tasks[0]
    [request] = make_requests(without_template, begun, [(task, 0)], "auto", 0)
    assert without_template.decode(request.ids) == begun.text(task)
    assert (request.base, request.begun, request.stops) == (True, "", ("\nassert",))


@pytest.mark.parametrize(
    ("prompt", "with_template", "without"), [("auto", False, True), ("chat", False, False), ("base", True, True)]
)
def test_auto_is_a_chat_only_where_the_tokenizer_brings_a_template(
    chat_tokenizer: Any, without_template: Any, tmp_path: Path, prompt: Any, with_template: bool, without: bool
) -> None:
    assert goes_on_from_text(chat_tokenizer, prompt) is with_template
    assert goes_on_from_text(without_template, prompt) is without
    without_template.save_pretrained(
        tmp_path / "trained"
    )  # a trained arm keeps the default template, and is asked like its base
    trained = load_tokenizer(str(tmp_path / "trained"))
    assert trained.chat_template == DEFAULT_TEMPLATE
    assert goes_on_from_text(trained, prompt) is without


def test_each_sample_is_a_request_with_its_own_seed(chat_tokenizer: Any, tiny: Benchmark) -> None:
    first, second = tiny.tasks[:2]
    requests = make_requests(chat_tokenizer, tiny, [(first, 0), (first, 3), (second, 0)], "chat", 5)
    assert [(each.task_id, each.sample) for each in requests] == [("t/0", 0), ("t/0", 3), ("t/1", 0)]
    assert [each.seed for each in requests] == [sample_seed(5, each.task_id, each.sample) for each in requests]
    assert requests[0].ids == requests[1].ids != requests[2].ids


class InWords(Tiny):
    """A benchmark for chat models only, as BigCodeBench-Instruct."""

    def text(self, task: Task) -> str:  # noqa: ARG002
        raise CodeBlockError("cannot be asked in words")


def test_a_benchmark_that_a_base_model_cannot_be_asked_is_refused(chat_tokenizer: Any, tiny: Benchmark) -> None:
    benchmarks = [tiny, InWords(tiny.tasks)]
    check_prompts(chat_tokenizer, benchmarks, "auto")
    with pytest.raises(CodeBlockError, match="cannot be asked in words"):
        check_prompts(chat_tokenizer, benchmarks, "base")
