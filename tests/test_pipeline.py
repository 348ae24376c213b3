"""The main job through its real command line: real Ray, real MLflow store, real model directories, small sizes."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from tests.small_run import call, markers, response
from tests.small_run import setting as setting

from codeblock.core.config.file import load_config
from codeblock.core.own_process import as_worker
from codeblock.core.schema import TokenClass
from codeblock.core.storage.scores import with_scores
from codeblock.core.storage.tables import iter_rows, parts, read_table
from codeblock.evaluate import driver
from codeblock.evaluate.driver import read_answers
from codeblock.experiment.plan import make_plan
from codeblock.selection import strategies


def states(printed: str) -> dict[str, str]:
    """What `--plan` says of each step."""
    found = (re.match(r"(\S+(?:, \S+)?)\s\s+(cached|would run|pending)\s*(.*)", line) for line in printed.splitlines())
    return {each[1]: f"{each[2]}: {each[3].strip()}".removesuffix(": ") for each in found if each}


def plan_of(home: Path, *overrides: str):
    config = load_config(home / "config.yaml", overrides)
    return make_plan(config, config.storage / "cache")


@pytest.fixture(scope="module")
def finished(setting, ray_cluster):
    """The setting after one full run."""
    assert call("run", setting / "config.yaml") == 0
    return setting


@pytest.mark.slow
def test_rows_read_are_kept_rejected_or_filtered(finished, capsys):
    assert call("prepare", finished / "config.yaml") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "rows: 45 read = 40 kept + 3 rejected + 2 filtered" in printed
    for reason in ("invalid_json 1", "empty_instruction 1", "missing_column 1", "duplicate 1", "no_code 1"):
        assert reason in printed


@pytest.mark.slow
def test_the_supervised_tokens_decode_to_the_source_of_selected_items(finished, tokenizer):
    plan = plan_of(finished)
    arm = next(arm for arm in plan.arms if arm.name == "codeblock")
    weights = {row["id"]: np.array(row["weight"]) for row in iter_rows(arm.selected.directory)}
    checked = 0
    for row in iter_rows(plan.kept.directory):
        weight = weights.get(row["id"], np.zeros(1))
        ids, items = np.array(row["input_ids"]), np.array(row["token_item"])
        for item in set(items[: weight.size][weight > 0].tolist()) - {-1}:
            spans = row["item_spans"][item]
            source = "".join(row["response"][a:b] for a, b in zip(spans[::2], spans[1::2], strict=True))
            assert source in tokenizer.decode(ids[(items == item) & (weight > 0)])
            checked += 1
    assert checked > 5


@pytest.mark.slow
def test_the_stop_token_of_every_trained_pair_is_supervised(finished):
    for arm in plan_of(finished).arms[1:]:
        for row in iter_rows(arm.selected.directory):
            if row["split"] == "train":
                assert row["token_class"][-1] == TokenClass.STOP
                assert row["weight"][-1] == 1.0


@pytest.mark.slow
def test_every_response_token_has_an_nll_and_no_prompt_token_has(finished):
    plan = plan_of(finished)
    table = with_scores(read_table(plan.kept.directory), {"nll": plan.scored.directory})
    assert read_table(plan.scored.directory).schema.names == ["id", "nll"]
    for row in table.to_pylist():
        known = ~np.isnan(np.array(row["nll"], dtype=np.float32))
        assert known.tolist() == [False] * row["response_start"] + [True] * (len(known) - row["response_start"])


@pytest.mark.slow
def test_a_second_run_recomputes_and_logs_nothing(finished, capsys):
    before = markers(finished)
    assert call("run", finished / "config.yaml") == 0
    assert markers(finished) == before
    assert "logged before" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_a_run_with_nothing_left_to_do_prints_the_same_without_what_its_steps_need(finished, capsys):
    costs = finished / "runs" / "cache" / ".costs"
    remembered = sorted(costs.iterdir())
    assert call("run", finished / "config.yaml") == 0
    printed = capsys.readouterr().out
    assert sorted(costs.iterdir()) == remembered, "the first run remembers them already"
    code = "import sys\nfrom codeblock.cli.commands import app\napp(sys.argv[1:], standalone_mode=False)\n"
    code += "print(sorted({'ray', 'torch', 'transformers', 'datasketch', 'matplotlib'} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", str(finished / "config.yaml")], check=True, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert (lines[:-1], lines[-1]) == (printed.splitlines(), "[]")


@pytest.mark.slow
def test_a_change_of_the_budget_touches_selection_and_training_of_budgeted_arms_alone(finished, capsys):
    override = "select.token_budget=0.3"
    assert call("run", finished / "config.yaml", override, "--plan") == 0
    printed = capsys.readouterr().out
    state = states(printed)
    assert [label for label, what in state.items() if what != "cached"] == [
        "select[codeblock]",
        "train[codeblock]",
        "generate[codeblock, tiny]",
        "grade[codeblock, tiny]",
        "reference_nll[codeblock, tiny]",
    ]
    assert state["select[codeblock]"] == "would run: differs in shares.token_budget (0.2 -> 0.3)"
    assert state["train[codeblock]"] == state["grade[codeblock, tiny]"] == "pending: depends on select[codeblock]"


@pytest.mark.slow
@pytest.mark.parametrize("change", ["evaluate.benchmarks={}", "filter.near_duplicates=0.99"])
def test_a_filter_that_takes_no_other_row_runs_again_and_nothing_behind_it(finished, capsys, change):
    """A benchmark less, whose tasks no pair held; a filter that takes nothing."""
    assert call("run", finished / "config.yaml", change, "--plan") == 0
    state = states(capsys.readouterr().out)
    assert (state["pairs"], state["filter"].split(":")[0]) == ("cached", "would run")
    assert state["tokenize"] == state["train[codeblock]"] == "pending: depends on filter"
    assert state["score"] == "pending: depends on filter; 40 pairs are there"
    assert not any(what.startswith("would run") for label, what in state.items() if label != "filter")
    assert call("prepare", finished / "config.yaml", change) == 0
    assert call("run", finished / "config.yaml", change, "--plan") == 0
    assert "nothing would run" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", ["prepare.max_item_tokens=8", "prepare.mutation_defines=true", "prepare.max_row_seconds=59", "rank.by=[random]"]
)
def test_another_segmentation_or_ranking_scores_nothing_again(finished, capsys, change):
    """Scores belong to tokens and are kept by id: their step keeps its name, and has the pairs already."""
    assert call("run", finished / "config.yaml", change, "--plan") == 0
    state = states(capsys.readouterr().out)
    assert state["pairs"] == state["filter"] == state["tokenize"] == "cached"
    changed = "rank" if change.startswith("rank") else "segment"
    assert state[changed].startswith("would run")
    assert state["score"] == f"pending: depends on {changed}; 40 pairs are there"
    before = {path.name: path.stat().st_mtime_ns for path in parts(plan_of(finished).scored.directory)}
    assert call("score", finished / "config.yaml", change) == 0
    assert re.search(r"score +cached", capsys.readouterr().out)
    assert plan_of(finished, change).scored.directory == plan_of(finished).scored.directory
    assert {path.name: path.stat().st_mtime_ns for path in parts(plan_of(finished).scored.directory)} == before


@pytest.mark.slow
def test_a_corrected_test_grades_the_same_answers_again_and_generates_nothing(finished, tmp_path, capsys):
    tasks = [json.loads(line) for line in (finished / "tasks.jsonl").read_text().splitlines()]
    corrected = [{**task, "test": f"{task['test']}\nassert {task['entry_point']}([]) == []"} for task in tasks]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in corrected))
    change = ["name=corrected", f"evaluate.benchmarks={{tiny: {tmp_path}/tasks.jsonl}}"]
    assert call("run", finished / "config.yaml", *change, "--plan") == 0
    state = states(capsys.readouterr().out)
    arms = ("base", "full", "codeblock")
    assert [label for label, what in state.items() if what != "cached"] == [f"grade[{arm}, tiny]" for arm in arms]
    assert state["grade[full, tiny]"].startswith("would run: differs in tasks (")
    before = markers(finished)
    assert call("run", finished / "config.yaml", *change) == 0
    after = markers(finished)
    assert {name.partition("-")[0] for name in after.keys() - before.keys()} == {"graded"}
    assert {name: after[name] for name in before} == before


@pytest.mark.slow
def test_near_duplicates_are_filtered_and_counted_and_rare_pairs_come_first(finished, capsys):
    overrides = [
        "filter.near_duplicates=0.25",
        "rank.by=[long_tail]",
        "select.subset_ratio=0.5",
        "arms={full: {strategy: full}}",
    ]
    assert call("select", finished / "config.yaml", *overrides) == 0
    printed = " ".join(capsys.readouterr().out.split())
    plan = plan_of(finished, *overrides)
    lost = plan.filtered.facts["reasons"]["near_duplicate"]
    assert f"{40 - lost} kept + 3 rejected + {lost + 2} filtered" in printed
    assert f"near_duplicate {lost}" in printed
    rarity = {row["id"]: row["signals"][0] for row in iter_rows(plan.ranked.directory)}
    assert len(rarity) == 40 - lost
    split = {row["id"]: row["split"] for row in iter_rows(plan.arms[0].selected.directory)}
    kept = [rarity[id_] for id_ in split]
    left = [rarity[id_] for id_ in rarity if id_ not in split]
    assert min(kept) >= max(left)


def test_joined_data_sets_are_counted_apart_and_their_duplicates_are_found(setting, ray_cluster, tmp_path, capsys):
    rows = [json.dumps({"task": f"Add {n} to each value.", "code": response(n)}) + "\n" for n in (1, 2, 50)]
    (tmp_path / "more.jsonl").write_text("".join(rows))
    more = f"{{path: {tmp_path}/more.jsonl, columns: {{instruction: task, response: code}}}}"
    joined = f"pairs.path=[{setting}/pairs.jsonl, {more}]"
    assert call("prepare", setting / "config.yaml", joined, "filter.near_duplicates=0.99") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "rows: 48 read" in printed
    assert "data sets: pairs 40 kept of 45, more 1 kept of 3" in printed
    plan = make_plan(load_config(setting / "config.yaml", [joined, "filter.near_duplicates=0.99"]), setting / "runs" / "cache")
    facts = {step.stage: step.facts["datasets"] for step in (plan.pairs, plan.filtered, plan.segmented)}
    assert facts == {
        "pairs": {"pairs": {"kept": 41, "read": 45}, "more": {"kept": 1, "read": 3}},
        "filtered": {"pairs": 41, "more": 1},
        "segmented": {"pairs": 40, "more": 1},
    }
    (last,) = [row for row in iter_rows(plan.segmented.directory) if row["dataset"] == "more"]
    assert (last["source"], last["response"]) == ("more/more.jsonl:3", response(50))


@pytest.mark.slow
def test_arms_are_nested_runs_with_curves_scores_and_verdicts(finished):

    client = MlflowClient(f"sqlite:///{finished}/runs/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("codeblock").experiment_id])
    parent = next(run for run in runs if run.info.run_name == "small")
    arms = {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert set(arms) == {"base", "full", "codeblock"}
    for name, run in arms.items():
        assert 0 <= run.data.metrics["pass_at_1/tiny_low"] <= run.data.metrics["pass_at_1/tiny"]
        assert (len(client.get_metric_history(run.info.run_id, "train/loss")) == 2) == (name != "base")
        assert any("verdicts" in file.path for file in client.list_artifacts(run.info.run_id))
        assert (run.data.tags["codeblock.arm"], run.data.tags["codeblock.seed"]) == (name, "0")
        nll, gain = run.data.metrics["reference_nll/tiny"], run.data.metrics["reference_nll_gain/tiny"]
        assert nll + gain == pytest.approx(arms["base"].data.metrics["reference_nll/tiny"])
        assert (run.data.metrics["spent/training_tflops"] > 0) == (name != "base")
        assert (run.data.metrics["spent/scoring_tflops"] > 0) == (name == "codeblock")
    assert arms["codeblock"].data.metrics["select/supervised_share"] == pytest.approx(0.2, rel=0.05)


@pytest.mark.slow
def test_samples_are_shown_and_arms_compared(finished, capsys):
    assert call("inspect", finished / "config.yaml", "--random", 2) == 0
    pages = list((finished / "runs" / "small" / "samples").glob("*.html"))
    assert len(pages) == 3
    assert call("compare", finished / "config.yaml") == 0
    printed = capsys.readouterr().out
    assert "tiny: 3 tasks" in printed
    assert "tiny, reference nll: 3 tasks" in printed
    names = {path.name for path in (finished / "runs" / "small").iterdir()}
    assert {"arms.md", "arms_cost.md", "arms_cost.json", "compare.md", "tradeoff_tiny.png"} <= names


@pytest.mark.slow
def test_an_arm_can_rank_by_the_model_that_another_arm_trained(finished, capsys):
    overrides = ["arms.cleaned.strategy=token_cleaning", "arms.mixed.strategy=sstoken", "score.second_model=arm:full"]
    with as_worker():  # as in a trial of a sweep
        assert call("select", finished / "config.yaml", *overrides) == 0
    plan = plan_of(finished, *overrides)
    cleaned, mixed = plan.arms[-2:]
    assert set(mixed.rounds[0].extra) == {"nll_second", "prompt_attention"}
    second = {row["id"]: row["nll_second"] for row in iter_rows(cleaned.rounds[0].extra["nll_second"].step.directory)}
    rows = list(iter_rows(plan.scored.directory))
    assert all(np.isnan(row["nll"]).tolist() == np.isnan(second[row["id"]]).tolist() for row in rows)
    assert any(np.nanmax(np.abs(np.subtract(row["nll"], second[row["id"]]))) > 1e-4 for row in rows)
    for arm in (cleaned, mixed):
        facts = arm.selected.facts
        assert abs(facts["supervised_tokens"] - facts["asked_tokens"]) <= 0.05 * facts["asked_tokens"]
    before = capsys.readouterr()
    assert call("select", finished / "config.yaml", "arms.cleaned.strategy=rho1") == 1
    assert "arms.cleaned: its strategy compares two models; set score.second_model" in capsys.readouterr().err
    assert "masks: cleaned: supervised tokens per supervised pair" in before.out


@pytest.mark.slow
def test_a_self_evolving_arm_trains_in_rounds_on_the_model_of_the_round_before(finished, capsys, monkeypatch):
    overrides = ["arms.evolving.strategy=self_evolving", f"score.second_model={plan_of(finished).model.path}"]
    assert len(plan_of(finished, *overrides).arms[-1].rounds) == 5
    rule = strategies.get_strategy("self_evolving")
    monkeypatch.setitem(strategies._REGISTRY, "self_evolving", replace(rule, rounds=2))  # each round is a fit of its own
    with as_worker():  # as in a trial of a sweep
        assert call("train", finished / "config.yaml", *overrides) == 0
    arm = plan_of(finished, *overrides).arms[-1]
    assert len(arm.rounds) == 2
    trained = [each.trained.facts for each in arm.rounds]
    assert all(facts["train_seconds"] > 0 for facts in trained)
    models = [each.extra["nll_second"].model.path for each in arm.rounds]
    assert models[1:] == [str(each.trained.directory / "model") for each in arm.rounds[:-1]]
    ids = [{row["id"] for row in iter_rows(each.selected.directory) if row["split"] == "train"} for each in arm.rounds]
    assert not set.intersection(*ids)
    capsys.readouterr()
    assert call("train", finished / "config.yaml", *overrides, "train.mode=lora") == 1
    assert "arms.evolving: self_evolving goes on training its model" in capsys.readouterr().err


@pytest.mark.slow
def test_fewer_tasks_take_the_answers_that_are_there(finished, capsys, monkeypatch):
    monkeypatch.setattr(driver, "_generate_with_hf", None)
    assert call("run", finished / "config.yaml", "evaluate.limit=2") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("2 of 2 answers to tiny are those of generated-") == 3
    for arm, whole in zip(plan_of(finished, "evaluate.limit=2").arms, plan_of(finished).arms, strict=True):
        few, all_answers = (read_answers(each.generated["tiny"].directory) for each in (arm, whole))
        assert len(few) == 2
        assert few.items() <= all_answers.items()


@pytest.mark.slow
def test_masks_are_exported_for_another_trainer(finished, tmp_path, capsys):
    assert call("export", finished / "config.yaml", "--format", "axolotl", "--out", tmp_path / "masks") == 0
    assert "training pairs in train/" in capsys.readouterr().out
    rows = list(iter_rows(tmp_path / "masks" / "train"))
    selected = plan_of(finished).arms[-1].selected.facts
    assert len(rows) == selected["supervised_pairs"]
    assert sum(label != -100 for row in rows for label in row["labels"]) == selected["supervised_tokens"]


@pytest.mark.slow
def test_samples_made_elsewhere_are_graded(finished, capsys):
    samples = finished / "runs" / "samples.jsonl"
    rows = [{"task_id": "t0", "completion": "def add_0(v):\n    return list(v)\n"}, {"task_id": "t1", "completion": "def"}]
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ["--benchmark", "tiny", "--tasks", finished / "tasks.jsonl", "--samples", samples]
    assert call("evaluate", *flags) == 0
    printed = capsys.readouterr().out
    assert "pass@1 0.3333" in printed
    assert "syntax_error 1" in printed
