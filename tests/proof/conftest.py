"""A small model and two small selections, packed as they travel."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from tests.conftest import make_model, make_tokenizer

from codeblock.core.config import Config
from codeblock.core.models.load import load_model, load_tokenizer
from codeblock.core.storage.tables import write_part
from codeblock.library import score_pairs
from codeblock.selection.request import SelectRequest
from codeblock.selection.stage import select_parts

FUNCTION = "def {name}(a, b):\n    total = a {sign} b\n    return total\n"
ANSWER = "Here is a function that returns it.\n\n```python\n{code}```\n"


def pairs() -> list[dict[str, str]]:
    return [
        {"instruction": f"Write {name}{again}.", "response": ANSWER.format(code=FUNCTION.format(name=name + again, sign=sign))}
        for name, sign in (("add", "+"), ("sub", "-"), ("mul", "*"), ("div", "/"), ("mod", "%"), ("power", "**"))
        for again in ("", "2")
    ]


def task(number: int) -> dict[str, str]:
    """A row of HumanEval's file."""
    head = f"def f{number}(a, b):\n"
    test = f"def check(candidate):\n    assert candidate(1, 2) == {number + 3}\n"
    solution = f"    return a + b + {number}\n"
    name, entry_point = f"HumanEval/{number}", f"f{number}"
    return {"task_id": name, "prompt": head, "canonical_solution": solution, "test": test, "entry_point": entry_point}


@pytest.fixture(scope="session")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model`, `selections` (two arms, seed 0 and 1), `tasks.jsonl` and `scored`."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("proof")
    make_model(root / "model", len(make_tokenizer(root / "model")), max_position_embeddings=1024)
    model, tokenizer = load_model(str(root / "model")), load_tokenizer(str(root / "model"))
    scored = score_pairs(pairs(), tokenizer, model)
    write_part(root / "scored" / "part-000000.parquet", scored)
    settings = Config().select.model_copy(update={"token_budget": 0.4, "subset_ratio": 1.0})
    tokens = [len(row["input_ids"]) - row["response_start"] for row in scored.to_pylist()]
    ranks = pa.array(range(scored.num_rows), pa.int32())
    ranked = pa.table({"id": scored["id"], "tokens": pa.array(tokens, pa.int32()), "rank": ranks})
    write_part(root / "ranked" / "part-000000.parquet", ranked)
    for arm in ("full", "codeblock"):
        for seed in (0, 1):
            places = (root / "scored", root / "ranked")
            request = SelectRequest(*places, arm, settings, settings.shares, {"nll": root / "scored"}, seed=seed, dev_pairs=1)
            select_parts(request, root / "selections" / f"{arm}-seed{seed}")
    (root / "tasks.jsonl").write_text("".join(json.dumps(task(number)) + "\n" for number in range(3)))
    return root


@pytest.fixture
def config(proof: Path) -> Config:
    """LoRA, 2 steps, 2 samples of 4 tokens."""
    return Config.model_validate(
        {
            "arms": {"base": {}, "full": {"strategy": "full"}, "codeblock": {"strategy": "codeblock"}},
            "model": {"path": str(proof / "model")},
            "train": {"mode": "lora", "lora": {"rank": 2, "dropout": 0.1}, "steps": 2, "batch_pairs": 2, "dtype": "bfloat16"},
            "evaluate": {
                "benchmarks": {"humaneval": str(proof / "tasks.jsonl")}, "samples": 2, "temperature": 0.2, "top_p": 0.95,
                "max_new_tokens": 4, "batch_size": 4,
            },
        }
    )  # fmt: skip
