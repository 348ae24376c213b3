"""Masks for trainers that people already use: one function from a selected row to each trainer's columns.

    trl       `input_ids`, `labels` (-100 where there is no loss). TRL >= 1.0 takes such a data set as it is, by
              `SFTTrainer(train_dataset=...)` with `max_length=None`; earlier versions made labels of their own.
    axolotl   `input_ids`, `attention_mask`, `labels`: its pre-tokenized format, a data set without a `type`.
    skyrl     `input_ids`, `attention_mask`, `num_actions`, `loss_mask` over the last `num_actions` tokens: the rows that its
              SFT trainer collates and keeps in its cache of tokenized data.
    parquet   `id`, `input_ids`, `weight` (a float per token), `selected` (whether the strategy chose it): for a trainer of your
              own.

Labels and masks say where there is a loss, which is what a trainer needs: with `select.background_weight=1` that is the whole
response. Which tokens were chosen stays in `selected`.

Imports neither Ray nor MLflow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import TokenClass
from codeblock.core.storage.tables import parts, read_part, write_part
from codeblock.core.supervised import supervised

IGNORED = -100
"""The label without a loss, by PyTorch's convention."""

ExportedRow = dict[str, Any]
Arrays = tuple[str, NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8], NDArray[np.bool_]]
"""id, and over its tokens input_ids [T], weight [T], token_class [T], which were chosen [T]."""


def _trl(row: Arrays) -> ExportedRow:
    _, ids_T, weight_T, _, _ = row
    return {"input_ids": ids_T, "labels": np.where(weight_T > 0, ids_T, IGNORED)}


def _axolotl(row: Arrays) -> ExportedRow:
    return {**_trl(row), "attention_mask": np.ones_like(row[1])}


def _skyrl(row: Arrays) -> ExportedRow:
    _, ids_T, weight_T, class_T, _ = row
    start = int((class_T == TokenClass.PROMPT).sum())
    return {
        "input_ids": ids_T,
        "attention_mask": np.ones_like(ids_T),
        "num_actions": ids_T.size - start,
        "loss_mask": (weight_T[start:] > 0).astype(np.int32),
    }


def _parquet(row: Arrays) -> ExportedRow:
    id_, ids_T, weight_T, _, selected_T = row
    return {"id": id_, "input_ids": ids_T, "weight": weight_T, "selected": selected_T}


FORMATS: dict[str, Callable[[Arrays], ExportedRow]] = {"trl": _trl, "axolotl": _axolotl, "skyrl": _skyrl, "parquet": _parquet}
HOW = {
    "trl": 'SFTTrainer(model, args=SFTConfig(max_length=None), train_dataset=Dataset.from_parquet("{train}/*.parquet"))',
    "axolotl": "datasets: [{{path: {train}, ds_type: parquet}}]   # no `type`: the tokens are taken as they are",
    "skyrl": 'rows = Dataset.from_parquet("{train}/*.parquet").to_list(); collate_sft_batch(rows[:8], tokenizer)',
    "parquet": 'Dataset.from_parquet("{train}/*.parquet")',
}
"""How each trainer loads what was written."""


def check_format(format_: str) -> None:
    """Raise CodeBlockError for an unknown format."""
    if format_ not in FORMATS:
        raise CodeBlockError(f"export: format {format_!r} is not known; there are {', '.join(FORMATS)}")


def export(selected: Path, output: Path, format_: str) -> dict[str, int]:
    """Write `output/train` and `output/dev` (the held-out pairs) as Parquet parts; returns the rows of each.

    Parts of an earlier export there are replaced.

    `selected`: a directory with schema SELECTED. Raises CodeBlockError for an unknown format, and where the weights are not 0
    and 1 but the format knows only these.
    """
    check_format(format_)
    written = {"train": 0, "dev": 0}
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".export-", dir=output) as beside:
        for path in parts(selected):
            table = read_part(path)
            splits = np.array(table["split"].to_pylist(), dtype=object)
            for split in written:
                rows = [_row(each, format_) for each in _arrays(table.filter(pa.array(splits == split)))]
                if rows:
                    write_part(Path(beside) / split / path.name, pa.Table.from_pylist(rows))
                    written[split] += len(rows)
        for split in written:
            _replace_parts(Path(beside) / split, output / split)
    return written


def _replace_parts(made: Path, place: Path) -> None:
    """Put parts in the place of those of an earlier export, of which none may be left for a trainer to read with them."""
    for path in place.glob("part-*.parquet"):
        path.unlink()
    for path in sorted(made.glob("part-*.parquet")):
        place.mkdir(exist_ok=True)
        path.replace(place / path.name)


def _arrays(table: pa.Table) -> list[Arrays]:
    columns = [table[name].to_numpy(zero_copy_only=False) for name in ("input_ids", "weight", "token_class")]
    return list(zip(table["id"].to_pylist(), *columns, supervised(table), strict=True))


def _row(row: Arrays, format_: str) -> ExportedRow:
    id_, _, weight_T, _, _ = row
    if format_ != "parquet" and not np.isin(weight_T, (0.0, 1.0)).all():
        raise CodeBlockError(
            f"export: pair {id_} has weights between 0 and 1, which {format_} cannot express; use --format parquet or "
            "select.background_weight=0"
        )
    return FORMATS[format_](row)
