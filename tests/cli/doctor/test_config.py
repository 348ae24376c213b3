"""What would stop a config is told before it runs, each with its remedy."""

import json
from dataclasses import replace

import datasets
import pytest

from codeblock.cli.doctor import grading
from codeblock.cli.doctor.config import CALLER, config_checks, fits, same_versions
from codeblock.cli.doctor.nodes import NodeReport, ask_nodes, versions
from codeblock.core.capacity import Capacity
from codeblock.core.config.file import load_config
from codeblock.core.errors import CodeBlockError
from codeblock.core.nodes import Node as Machine
from codeblock.core.nodes import NodeAnswer
from codeblock.report.mlflow.store import connect
from codeblock.sandbox import graders


def node(name, **found):
    return NodeReport(name, {"python": "3.11.7", "ray": "2.60.0", **found}, [], 1024, "")


def config_of(*overrides, storage):
    return load_config(None, [f"storage={storage}", *overrides])


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch):
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", CALLER):
        monkeypatch.delenv(name, raising=False)


def test_a_config_that_can_run_has_no_red_line(small_model, tmp_path):
    found = config_checks(config_of(f"model.path={small_model}", "cluster.grade_processes=1", storage=tmp_path / "runs"))
    by_name = {check.name: check for check in found}
    assert [check.detail for check in found if not check.ok] == []
    assert by_name["versions"].detail.startswith("python 3.1")
    assert by_name["data"].detail == "tiny, made in the run"
    assert by_name["model"].detail == str(small_model)
    assert by_name["mlflow"].detail.endswith("/runs/mlflow.db")
    assert by_name["resources"].detail.endswith("asked: 1 workers, then 1 actors, each 1 CPU, 0 GPU")
    assert by_name["memory"].detail.startswith("training takes about 0.")
    assert by_name["storage"].detail == f"{tmp_path}/runs (not there yet, a run makes it)"
    assert len(found) < 20
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_each_red_line_has_its_remedy(tmp_path):
    (tmp_path / "empty").mkdir()
    wrong = [
        "pairs.path=nowhere.jsonl",
        f"model.path={tmp_path}/empty",
        "cluster.train_workers=999",
        "track.uri=http://127.0.0.1:9",
    ]
    wrong += ["evaluate.benchmarks={humaneval: nothing.jsonl}"]
    found = {check.name: check.detail for check in config_checks(config_of(*wrong, storage=tmp_path)) if not check.ok}
    assert set(found) == {"data", "model", "benchmarks", "mlflow", "resources", "memory"}
    assert found["data"] == "pairs.path=nowhere.jsonl: no such file or directory; give a file, directory, glob, URI or hub name"
    assert "; lower cluster.train_workers" in found["resources"]
    assert "; check track.uri or MLFLOW_TRACKING_URI" in found["mlflow"]


def test_data_are_looked_for_on_disk_and_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text("{}\n")

    def found(*paths):
        checks = config_checks(config_of(f"pairs.path=[{', '.join(map(str, paths))}]", storage=tmp_path / "runs"))
        return next((check.ok, check.detail) for check in checks if check.name == "data")

    assert found(tmp_path / "a.jsonl", "tiny") == (True, f"{tmp_path}/a.jsonl: 1 file, tiny: made in the run")
    asked = []
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *given, **more: asked.append((given, more)))
    assert found("owner/dataset") == (True, "owner/dataset: a dataset of the hub")
    assert asked == [(("owner/dataset",), {"revision": None})]

    def absent(*_, **__):
        raise ConnectionError("no such dataset")

    monkeypatch.setattr(datasets, "load_dataset_builder", absent)
    assert found("owner/dataset") == (
        False,
        "pairs.path=owner/dataset: neither a file here nor a Hugging Face dataset that can be reached (no such dataset)",
    )


def test_what_a_run_has_made_is_looked_at_and_left_as_it_is(tmp_path):
    config = config_of(storage=tmp_path)
    connect(config.track, config.storage)
    before = sorted(tmp_path.rglob("*"))
    found = {check.name: check for check in config_checks(config)}
    assert [check.detail for check in found.values() if not check.ok] == []
    assert found["storage"].detail == str(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert list(tmp_path.glob("*")) == [tmp_path / "mlflow.db"]


def test_a_storage_that_cannot_be_made_is_a_red_line(tmp_path):
    (tmp_path / "file").write_text("")
    found = {check.name: check.detail for check in config_checks(config_of(storage=tmp_path / "file" / "runs")) if not check.ok}
    assert set(found) == {"storage", "mlflow"}
    assert found["storage"].endswith("cannot be written (Not a directory); free it or name another")
    assert "; check track.uri or MLFLOW_TRACKING_URI, or set storage to a directory" in found["mlflow"]


def test_a_model_too_large_for_a_worker_names_what_makes_it_smaller(small_model, tmp_path):
    asked = [f"model.path={small_model}", "train.micro_batch_tokens=2000000000"]
    found = {check.name: check for check in config_checks(config_of(*asked, storage=tmp_path))}
    assert not found["memory"].ok
    assert found["memory"].detail.endswith(
        "set train.mode=lora or, over several workers, train.shard=true, train.dtype=bfloat16, "
        "train.gradient_checkpointing=true, a smaller train.micro_batch_tokens"
    )


def test_a_resting_cluster_fits_what_it_can_become(tmp_path):
    resting = Capacity({"CPU": 0}, {"CPU": 16, "GPU": 2}, ({"CPU": 8, "GPU": 1},))
    asked = ["cluster.train_workers=2", "cluster.cpus_per_worker=8", "cluster.gpus_per_worker=1"]
    told = fits(config_of(*asked, storage=tmp_path), resting)
    assert told == "0 CPU, 0 GPU (can become 16 CPU, 2 GPU); asked: 2 workers, then 1 actors, each 8 CPU, 1 GPU"
    with pytest.raises(CodeBlockError, match=r"^train: 3 x 8 CPU asked, the cluster has 16 CPU; lower cluster.train_workers"):
        fits(config_of(*asked, "cluster.train_workers=3", storage=tmp_path), resting)


def test_versions_that_differ_say_where(monkeypatch):
    assert same_versions([node("head")]) == "one node"
    assert same_versions([node("head"), node("worker")]) == "2 sides agree"
    with pytest.raises(CodeBlockError, match=r"^ray 2.60.0 on head but 2.59.0 on worker; build the image and this environment"):
        same_versions([node("head"), node("worker", ray="2.59.0")])
    monkeypatch.setenv(CALLER, json.dumps({"python": "3.12.1", "ray": "2.60.0"}))
    with pytest.raises(CodeBlockError, match=r"^python 3.12.1 on here but 3.11.7 on head;"):
        same_versions([node("head")])


HEAD, ONE = Machine("h", "head (1)", 0.0, True), Machine("a", "one (2)", 1.0, False)


@pytest.mark.parametrize(
    ("nodes", "problems", "lines"),
    [
        ([HEAD], {}, [(True, "the driver's node grades alone")]),
        ([HEAD, ONE], {}, [(True, "1 of 1 nodes would grade: one (2)")]),
        (
            [HEAD, ONE],
            {"one (2)": "lacks it; mend it"},
            [(True, "the driver's node grades alone"), (True, "1 of 1 nodes cannot grade: one (2): lacks it; mend it")],
        ),
        (
            [HEAD, ONE, replace(ONE, id="b", name="two (3)")],
            {"one (2)": "lacks it; mend it"},
            [(True, "1 of 2 nodes would grade: two (3)"), (True, "1 of 2 nodes cannot grade: one (2): lacks it; mend it")],
        ),
        (
            [HEAD, ONE],
            {"one (2)": "lacks it; mend it", "head (1)": "lacks more; mend more"},
            [(False, "lacks more; mend more"), (True, "1 of 1 nodes cannot grade: one (2): lacks it; mend it")],
        ),
    ],
)
def test_nodes_that_would_grade_are_asked_and_told_by_what_they_lack(nodes, problems, lines, tmp_path, monkeypatch):
    monkeypatch.setattr(graders, "_known", {})
    monkeypatch.setattr(graders, "living_nodes", lambda: nodes)

    def answers(some, *_):
        return [NodeAnswer(problems.get(node.name, node.name)) for node in some]

    monkeypatch.setattr(graders, "ask_nodes", answers)
    for module in (graders, grading):
        monkeypatch.setattr(module, "problem_of", lambda found, *_: found if "; " in found else "")
    monkeypatch.setattr(grading, "look", lambda _: problems.get("head (1)", "head (1)"))
    found = grading.grading_checks(config_of(storage=tmp_path))
    assert [(check.name, check.ok, check.detail) for check in found] == [("grading", ok, line) for ok, line in lines]
    nothing = "arms={base: {generate: false}}"
    assert grading.grading_checks(config_of(nothing, storage=tmp_path)) == []
    ranked = grading.grading_checks(config_of(nothing, "rank.by=[quality, runs_examples]", storage=tmp_path))
    assert ranked == found, "the examples of responses are run there too"


def test_every_node_tries_the_storage_itself(ray_cluster, tmp_path):
    (found,) = ask_nodes(str(tmp_path))
    assert (found.versions, found.storage) == (versions(), "")
    assert found.memory_mib > 500
    assert list(tmp_path.iterdir()) == []
