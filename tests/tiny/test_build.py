"""The build: files as a user's own data and model would be, the same for the same seed."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from codeblock.core.models.load import context_length, load_model, load_tokenizer
from codeblock.tiny import SMALL, Recipe, build, identity
from codeblock.tiny.pairs import POOR_SHARES

TINIEST = dataclasses.replace(SMALL, pairs=40, tasks=6, base_steps=2)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    build(directory, 0, said.append, SMALL)
    return directory


def test_the_rows_have_the_columns_of_real_data(built: Path) -> None:
    pairs, tasks = rows_of(built / "pairs.jsonl"), rows_of(built / "benchmark.jsonl")
    assert len(pairs) == SMALL.pairs
    assert len(tasks) == SMALL.tasks
    assert all(set(row) == {"instruction", "response", "quality", "kind"} for row in pairs)
    assert all(set(row) == {"task_id", "instruction", "entry_point", "test", "reference"} for row in tasks)
    assert len({row["task_id"] for row in tasks}) == len(tasks)


def test_references_of_the_file_pass_their_tests(built: Path) -> None:
    for row in rows_of(built / "benchmark.jsonl"):
        exec(row["reference"] + "\n" + row["test"], {})


def test_model_and_tokenizer_load_like_any_other(built: Path) -> None:
    path = str(built / "model")
    tokenizer, model = load_tokenizer(path), load_model(path)
    assert context_length(path) >= 1024
    assert model.config.vocab_size == len(tokenizer) == SMALL.vocabulary
    assert model.config.tie_word_embeddings
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)


def test_the_tokenizer_loses_nothing_and_gives_offsets(built: Path) -> None:
    tokenizer = load_tokenizer(str(built / "model"))
    text = "def f(x):\n    return 'naïve 日本' * 12\n\n\t# ok\r\n"
    encoded = tokenizer(text, return_offsets_mapping=True)
    assert tokenizer.decode(encoded["input_ids"]) == text
    assert encoded["offset_mapping"][0][0] == 0
    assert encoded["offset_mapping"][-1][1] == len(text)


def test_the_template_marks_the_answer_and_its_stop_token(built: Path) -> None:
    tokenizer = load_tokenizer(str(built / "model"))
    messages = [{"role": "user", "content": "Add."}, {"role": "assistant", "content": "x = 1"}]
    encoded = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    chosen = [t for t, m in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if m]
    assert tokenizer.decode(chosen) == "x = 1<|im_end|>"
    prompt = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    assert tokenizer.apply_chat_template(messages, tokenize=False).startswith(prompt)


def test_even_the_small_base_model_has_learned_something(built: Path) -> None:
    path = str(built / "model")
    tokenizer, model = load_tokenizer(path), load_model(path)
    text = "\n".join(row["reference"] for row in rows_of(built / "benchmark.jsonl")[:8])
    ids = torch.tensor([tokenizer(text)["input_ids"][:512]])
    with torch.no_grad():
        nll = float(model(input_ids=ids, labels=ids).loss)
    assert nll < 0.85 * torch.log(torch.tensor(float(SMALL.vocabulary)))


def test_pairs_fit_the_context_many_times_over(built: Path) -> None:
    tokenizer = load_tokenizer(str(built / "model"))
    pairs = rows_of(built / "pairs.jsonl")
    lengths = [len(tokenizer(row["instruction"] + row["response"])["input_ids"]) for row in pairs]
    assert max(lengths) < 800
    assert sum(lengths) / len(lengths) < 300


def test_prose_is_about_half_of_the_responses_tokens(built: Path) -> None:
    tokenizer = load_tokenizer(str(built / "model"))
    responses = [row["response"] for row in rows_of(built / "pairs.jsonl")]
    prose = [re.sub(r"```python\n.*?```", "", response, flags=re.DOTALL) for response in responses]
    tokens, of_prose = (sum(map(len, tokenizer(texts)["input_ids"])) for texts in (responses, prose))
    assert 0.35 < of_prose / tokens < 0.55


def test_progress_is_told(built: Path, said: list[str]) -> None:
    assert built.exists()
    assert any(line.startswith("pairs:") for line in said)
    assert any(line.startswith("base model: step") for line in said)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build(tmp_path / name, seed, recipe=TINIEST)
    for file in ("pairs.jsonl", "benchmark.jsonl", "model/tokenizer.json"):
        first, same, other = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert first == same
        assert first != other


def test_a_failed_build_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("codeblock.tiny.make_pairs", fail)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, 0, recipe=TINIEST)
    assert [path.name for path in tmp_path.iterdir()] == ["benchmark.jsonl"]
    assert len(rows_of(tmp_path / "benchmark.jsonl")) == TINIEST.tasks


def test_identity_tells_recipes_apart() -> None:
    assert identity() == identity(Recipe())
    assert identity() != identity(SMALL)
    assert identity()["poor"] == POOR_SHARES
    assert json.loads(json.dumps(identity())) is not None
