"""Exported masks: each trainer's own columns, and with TRL the very loss that our trainer has."""

import numpy as np
import pyarrow as pa
import pytest

from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import SELECTED, TokenClass
from codeblock.core.storage.tables import read_table, write_part
from codeblock.report.export import export

P, X, C, K, S = (int(value) for value in TokenClass)


def selected_rows(vocabulary=300, count=9):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        prompt, response = int(rng.integers(3, 9)), int(rng.integers(6, 30))
        weight = np.concatenate([np.zeros(prompt), rng.random(response) < 0.3, [1.0]]).astype(np.float32)
        rows.append(
            {
                "id": f"pair{number}",
                "split": "dev" if number == 4 else "train",
                "input_ids": rng.integers(3, vocabulary, size=weight.size).tolist(),
                "token_class": [P] * prompt + [K] * response + [S],
                "weight": weight.tolist(),
            }
        )
    return rows


@pytest.fixture
def rows():
    return selected_rows()


@pytest.fixture
def selected(tmp_path, rows):
    for part in range(3):
        table = pa.Table.from_pylist(rows[3 * part : 3 * part + 3], schema=SELECTED)
        write_part(tmp_path / "selected" / f"part-{part:06d}.parquet", table)
    return tmp_path / "selected"


def exported(selected, tmp_path, format_):
    assert export(selected, tmp_path / format_, format_) == {"train": 8, "dev": 1}
    return read_table(tmp_path / format_ / "train").to_pylist()


@pytest.mark.parametrize("format_", ["trl", "axolotl"])
def test_labels_are_the_supervised_tokens(selected, rows, tmp_path, format_):
    got = exported(selected, tmp_path, format_)
    wanted = [row for row in rows if row["split"] == "train"]
    for row, source in zip(got, wanted, strict=True):
        assert row["input_ids"] == source["input_ids"]
        assert row["labels"] == [i if w else -100 for i, w in zip(source["input_ids"], source["weight"], strict=True)]
    columns = {"trl": {"input_ids", "labels"}, "axolotl": {"input_ids", "labels", "attention_mask"}}
    assert set(got[0]) == columns[format_]


def test_skyrl_has_a_mask_over_the_response(selected, rows, tmp_path):
    for row, source in zip(
        exported(selected, tmp_path, "skyrl"), [row for row in rows if row["split"] == "train"], strict=True
    ):
        assert row["num_actions"] == len(row["loss_mask"]) == sum(kind != P for kind in source["token_class"])
        assert row["loss_mask"] == source["weight"][-row["num_actions"] :]
        assert row["attention_mask"] == [1] * len(row["input_ids"])


def test_parquet_keeps_float_weights_and_the_others_refuse_them(rows, tmp_path):
    rows[0]["weight"] = [max(weight, 0.1) for weight in rows[0]["weight"]]
    write_part(tmp_path / "selected" / "part-000000.parquet", pa.Table.from_pylist(rows, schema=SELECTED))
    export(tmp_path / "selected", tmp_path / "parquet", "parquet")
    kept = read_table(tmp_path / "parquet" / "train").to_pylist()[0]["weight"]
    np.testing.assert_allclose(kept, rows[0]["weight"], rtol=1e-6)
    with pytest.raises(CodeBlockError, match=r"pair0 has weights between 0 and 1, which trl cannot express; use --format"):
        export(tmp_path / "selected", tmp_path / "trl", "trl")


def test_parts_of_an_earlier_export_do_not_stay_among_the_new_ones(selected, rows, tmp_path):
    exported(selected, tmp_path, "trl")
    write_part(tmp_path / "narrow" / "part-000001.parquet", pa.Table.from_pylist(rows[:2], schema=SELECTED))
    assert export(tmp_path / "narrow", tmp_path / "trl", "trl") == {"train": 2, "dev": 0}
    assert read_table(tmp_path / "trl" / "train")["input_ids"].to_pylist() == [row["input_ids"] for row in rows[:2]]
    assert [path.name for path in (tmp_path / "trl").rglob("*") if path.is_file()] == ["part-000001.parquet"]


def test_an_export_that_fails_leaves_the_earlier_one_as_it_was(selected, tmp_path):
    before = exported(selected, tmp_path, "trl")
    part = selected / "part-000002.parquet"
    part.write_bytes(part.read_bytes()[:50])
    with pytest.raises(CodeBlockError, match="not a whole parquet file"):
        export(selected, tmp_path / "trl", "trl")
    assert read_table(tmp_path / "trl" / "train").to_pylist() == before
    assert {path.name for path in (tmp_path / "trl").iterdir()} == {"train", "dev"}


def test_an_unknown_format_is_named(selected, tmp_path):
    with pytest.raises(CodeBlockError, match="format 'verl' is not known; there are trl, axolotl, skyrl, parquet"):
        export(selected, tmp_path / "out", "verl")


def test_trl_trains_on_the_export_with_the_loss_of_our_trainer(selected, tmp_path, small_model):
    trl = pytest.importorskip("trl", reason="TRL is not installed")
    import torch
    from datasets import Dataset

    from codeblock.core.models.load import load_model, load_tokenizer
    from codeblock.train.batches import CPU_CALL, micro_batches
    from codeblock.train.model import MaskedLM
    from codeblock.train.rows import read_pairs, trim_all

    export(selected, tmp_path / "trl", "trl")
    data = Dataset.from_parquet(str(tmp_path / "trl" / "train" / "*.parquet"))
    settings = trl.SFTConfig(
        output_dir=str(tmp_path / "trainer"),
        max_length=None,
        max_steps=1,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,  # four pairs at a time, eight in the step: the mean is over all their tokens
        learning_rate=0.0,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
    )
    model = load_model(str(small_model))
    trainer = trl.SFTTrainer(model, args=settings, train_dataset=data, processing_class=load_tokenizer(str(small_model)))
    trainer.train()
    theirs = next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)

    pairs, _ = trim_all(read_pairs(selected, "train"))
    masked = MaskedLM(load_model(str(small_model)))
    with torch.no_grad():
        total = sum(float(masked(batch)) for batch in micro_batches(pairs, 512, False, CPU_CALL))
    ours = total / sum(pair.weight for pair in pairs)
    assert theirs == pytest.approx(ours, rel=1e-4)
