"""A sweep whose storage is in an object store: records, report and models there, and gone on with from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.small_run import call
from tests.sweep.small import told, write_data

from codeblock.core.storage import places, store
from codeblock.core.storage.manifest import MARKER

pytestmark = [pytest.mark.slow, pytest.mark.long]

CONFIG = """
name: swept
storage: {bucket}/runs
track: {{uri: "sqlite:///{home}/mlflow.db"}}
pairs: {{path: {home}/pairs.jsonl}}
filter: {{near_duplicates: null, decontaminate: false}}
model: {{path: {model}, max_length: 256}}
select: {{token_budget: 0.2, subset_ratio: 1.0, nl_share: 0}}
arms: {{base: {{}}, codeblock: {{strategy: codeblock}}}}
train: {{steps: 4, batch_pairs: 4, dev_pairs: 4, dev_every: 2, checkpoint_every: 2}}
evaluate: {{benchmarks: {{tiny: {home}/tasks.jsonl}}, max_new_tokens: 4, reference_nll: false}}
sweep:
  space: {{train.learning_rate: [1.0e-2, 1.0e-3]}}
"""


def test_a_sweep_in_an_object_store_keeps_there_what_others_keep_in_a_directory(
    bucket: str, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG.format(bucket=bucket, home=tmp_path, model=small_model))
    command = [sys.executable, "-m", "codeblock", "sweep", "config.yaml"]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"the best point again: codeblock run {bucket}/runs/swept/best.yaml" in ended.stdout

    runs = places.place(f"{bucket}/runs")
    report = store.sizes(runs / "swept")
    assert {"sweep.md", "sweep.json", "best.yaml", "parallel_tiny.png"} <= report.keys()
    found = [json.loads(store.read_text(runs / "swept" / name)) for name in report if name.endswith("record.json")]
    assert [each["status"] for each in found] == ["evaluated"] * 2
    kept = {name.partition("/")[0] for name in store.sizes(runs / "cache") if name.endswith(MARKER) and "trained-" in name}
    objects = {name.split("/")[1] for name in store.sizes(runs / "cache") if name.startswith("objects/trained-")}
    assert len(kept) == len(objects) == 1, "the model of the best point"

    # What this disk has of it is a copy, and so it is gone on with from another one.
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(places.SCRATCH, str(tmp_path / "other disk"))
        assert call("sweep", tmp_path / "config.yaml") == 0
        assert "(the same results were logged before)" in told(capsys.readouterr().out)
        assert call("run", f"{bucket}/runs/swept/best.yaml", "--plan") == 0
    plan = capsys.readouterr().out
    assert "would run" not in next(line for line in plan.splitlines() if "train[codeblock]" in line)
