"""The reference nll of a model as a finished step holds it; to read it takes neither Ray nor torch."""

from __future__ import annotations

from pathlib import Path

from codeblock.core.storage import tables

FILE = "reference_nll.parquet"
"""All tasks of a benchmark, in its order (schema `reference_nll.REFERENCE_NLL`)."""


def read_reference_nll(step_directory: Path) -> dict[str, float]:
    """The nll of each task that counts."""
    rows = tables.read_part(step_directory / FILE, ["task_id", "nll", "reason"]).to_pylist()
    return {row["task_id"]: row["nll"] for row in rows if row["reason"] is None}
