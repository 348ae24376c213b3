"""What a config asks for, as steps: what decides the name of each, before anything runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.small_run import setting as setting

from codeblock.core import installed as packages
from codeblock.core.config.file import load_config
from codeblock.core.errors import CodeBlockError
from codeblock.experiment.cache import Product
from codeblock.experiment.plan import make_plan
from codeblock.sandbox import interpreters


def plan_of(home: Path, *overrides: str):
    config = load_config(home / "config.yaml", overrides)
    return make_plan(config, config.storage / "cache")


def test_pairs_are_decontaminated_of_every_benchmark_but_the_embedded_one(setting):
    assert plan_of(setting).inputs.decontaminated == ["tiny"]  # the benchmark of that name in a file of the user's
    embedded = plan_of(setting, "evaluate.benchmarks.tiny=tiny")
    assert embedded.inputs.decontaminated == []
    assert embedded.filtered.identity["benchmarks"] == {}


def test_a_mixture_of_a_data_set_that_there_is_not_is_refused(setting):
    both = f"pairs.path=[{setting}/pairs.jsonl, {{path: {setting}/pairs.jsonl, name: more}}]"
    assert plan_of(setting, both, "select.mixture={pairs: 0.5, more: 0.5}").arms
    with pytest.raises(CodeBlockError, match=r"mixture \(arm full\): there is no data set 'mroe'; there are pairs, more$"):
        plan_of(setting, both, "select.mixture={mroe: 0.5}")


def evaluations(plan):
    return [step.key for arm in plan.arms for step in arm.generated.values()]


def test_the_step_of_the_pairs_knows_every_data_set_and_their_order(setting, tmp_path):
    (tmp_path / "more.jsonl").write_text('{"instruction": "Add.", "output": "x = 1"}\n')

    def key(*paths):
        return make_plan(load_config(setting / "config.yaml", [f"pairs.path=[{', '.join(paths)}]"]), tmp_path).pairs.key

    one, other = f"{setting}/pairs.jsonl", f"{tmp_path}/more.jsonl"
    keys = {key(one), key(one, other), key(other, one), key(one, "tiny"), key(f"{{path: {one}, columns: {{input: x}}}}")}
    assert len(keys) == 5
    before = key(one, other)
    (tmp_path / "more.jsonl").write_text('{"instruction": "Add.", "output": "x = 2"}\n')
    assert key(one, other) != before


def test_the_embedded_pairs_are_one_data_set_among_others(setting, tmp_path):
    paths = f"pairs.path=[{{path: tiny, name: mine}}, {setting}/pairs.jsonl]"
    plan = make_plan(load_config(setting / "config.yaml", [paths]), tmp_path)
    plan.inputs.tiny.directory.mkdir(parents=True)
    (plan.inputs.tiny.directory / "pairs.jsonl").write_text("")  # what the step writes
    read = [(each.name, [file.path for file in each.files]) for each in plan.inputs.data_sets]
    assert read == [("mine", [str(plan.inputs.tiny.directory / "pairs.jsonl")]), ("pairs", [str(setting / "pairs.jsonl")])]


def test_how_answers_are_made_names_an_evaluation_and_how_it_is_carried_out_does_not(setting):
    greedy = evaluations(plan_of(setting))
    for same in ("evaluate.engine=vllm", "evaluate.batch_size=3", "cluster.actors=2"):
        assert evaluations(plan_of(setting, same)) == greedy
    for other in ("prompt=base", "temperature=0.5", "max_new_tokens=9", "dtype=bfloat16"):
        assert not set(evaluations(plan_of(setting, f"evaluate.{other}"))) & set(greedy)


def test_what_has_no_effect_names_nothing(setting):
    """How answers would be sampled, where they are greedy; the adapters, where all weights are trained."""

    def fits(*overrides):
        return [arm.trained.key for arm in plan_of(setting, *overrides).arms if arm.trained]

    sampled = "evaluate.temperature=0.5"
    assert evaluations(plan_of(setting, "evaluate.top_p=0.9")) == evaluations(plan_of(setting))
    assert not set(evaluations(plan_of(setting, sampled, "evaluate.top_p=0.9"))) & set(evaluations(plan_of(setting, sampled)))
    assert fits("train.lora.rank=4", "train.lora.target_modules=[q_proj]") == fits()
    assert not set(fits("train.mode=lora", "train.lora.rank=4")) & set(fits("train.mode=lora"))


def test_the_reference_nll_of_the_untrained_model_is_measured_once(setting):
    plan = plan_of(setting)
    assert plan.untrained_nll["tiny"].key == plan.arms[0].reference_nll["tiny"].key
    assert len({arm.reference_nll["tiny"].key for arm in plan.arms}) == 3
    labels = [step.label for step in plan_of(setting, "arms={full: {strategy: full}}").steps() if step.stage == "reference_nll"]
    assert labels == ["reference_nll[full, tiny]", "reference_nll[untrained, tiny]"]
    off = plan_of(setting, "evaluate.reference_nll=false")
    assert evaluations(off) == evaluations(plan)
    assert not any(step.stage == "reference_nll" for step in off.steps())
    for other in ("prompt=base", "dtype=bfloat16", "limit=2"):
        assert plan_of(setting, f"evaluate.{other}").untrained_nll["tiny"].key != plan.untrained_nll["tiny"].key
    assert plan_of(setting, "evaluate.temperature=0.5").untrained_nll["tiny"].key == plan.untrained_nll["tiny"].key


def test_another_limit_grades_the_same_answers_again(setting):
    def arm(*overrides):
        return plan_of(setting, *overrides).arms[0]

    for change in ("evaluate.timeout_seconds=9", "evaluate.memory_mb=512"):
        assert arm(change).generated["tiny"].key == arm().generated["tiny"].key
        assert arm(change).graded["tiny"].key != arm().graded["tiny"].key


ANSWERED = {"generated", "reference_nll"}
TASK = {
    "task_id": "t",
    "instruction": "Write f.",
    "entry_point": "f",
    "test": "assert f(1)",
    "reference": "def f(x):\n    return x\n",
}


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({"test": "assert f(2)"}, {"graded"}),
        ({"reference": "def f(y):\n    return y\n"}, {"filtered", "graded", "reference_nll"}),
        ({"instruction": "Write f(x)."}, {"filtered", "generated", "graded", "reference_nll"}),
        ({"entry_point": "g", "reference": "def g(x):\n    return x\n"}, {"filtered", "graded", "reference_nll"}),
    ],
)
def test_what_changes_in_a_task_names_the_steps_that_look_at_it(setting, tmp_path, change, stages):
    """A corrected test grades the same answers again, and nothing else."""

    def own():
        """What decides each step by itself, whatever the steps before it have written."""
        plan = plan_of(setting, f"evaluate.benchmarks={{tiny: {tmp_path}/tasks.jsonl}}")
        return {
            step.label: (step.stage, {key: told for key, told in step.decided_by.items() if not isinstance(told, Product)})
            for step in plan.steps()
        }

    (tmp_path / "tasks.jsonl").write_text(json.dumps(TASK))
    before = own()
    (tmp_path / "tasks.jsonl").write_text(json.dumps({**TASK, **change}))
    after = own()
    assert {after[label][0] for label in after if after[label] != before[label]} == stages


def test_verdicts_are_named_by_the_benchmark_whose_rules_decide(setting):
    """Two names for one file, such as one that was mistaken for another, and what runs programs in other languages."""
    task = {
        "task_id": "HumanEval/32",
        "prompt": "def f(x):\n",
        "entry_point": "f",
        "canonical_solution": "    return x\n",
        "atol": 0,
    }
    (setting / "plus.jsonl").write_text(json.dumps({**task, "base_input": [[1]], "plus_input": []}))
    arm = plan_of(setting, f"evaluate.benchmarks={{mbppplus: {setting}/plus.jsonl, humanevalplus: {setting}/plus.jsonl}}").arms[
        0
    ]
    assert arm.graded["mbppplus"].asked != arm.graded["humanevalplus"].asked


def test_verdicts_on_programs_in_another_language_are_named_by_its_version(setting, monkeypatch):
    task = {
        "task_id": "JavaScript/0",
        "prompt": "const f = (x) => {\n",
        "canonical_solution": "  return x;\n}\n",
        "test": "f(1)",
    }
    (setting / "js.jsonl").write_text(json.dumps(task))

    def asked(benchmark, file):
        arm = plan_of(setting, f"evaluate.benchmarks={{{benchmark}: {setting}/{file}}}").arms[0]
        return [arm.generated[benchmark].asked, arm.graded[benchmark].asked]

    in_javascript, in_python = ("humanevalx_js", "js.jsonl"), ("tiny", "tasks.jsonl")
    before = asked(*in_javascript), asked(*in_python)
    monkeypatch.setattr(interpreters, "version_told", lambda command, python: f"v99 of {command} in {python}")
    assert asked(*in_python) == before[1]
    after = asked(*in_javascript)
    assert [one == other for one, other in zip(before[0], after, strict=True)] == [True, False]


def test_the_library_of_adapters_names_the_answers_of_models_that_have_them(setting, monkeypatch, small_model, tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(small_model)}))

    def answers(*overrides):
        return {step.label: step.asked for step in plan_of(setting, *overrides).steps() if step.stage in ANSWERED}

    lora = (["train.mode=lora"], [f"model.path={tmp_path}"])
    whole, before, real = answers(), [answers(*each) for each in lora], packages._version
    monkeypatch.setattr(packages, "_version", lambda name: "0.1" if name == "peft" else real(name))
    assert answers() == whole
    trained, given = (
        {label for label, asked in answers(*each).items() if asked != earlier[label]}
        for each, earlier in zip(lora, before, strict=True)
    )
    assert trained == {label for label in whole if "base" not in label and "untrained" not in label}
    assert given == {label for label in whole if "base" in label or "untrained" in label}, "full weights are trained of it"


@pytest.mark.parametrize(
    ("library", "first", "others"),
    [
        ("tokenizers", "tokenized", {"segmented", "scored", "selected", "trained"}),
        ("tree-sitter-python", "segmented", {"selected", "trained"}),
        ("torch", "generated", {"graded"}),
        ("numpy", "graded", set()),
    ],
)
def test_the_version_of_a_library_names_what_it_decides(setting, monkeypatch, library, first, others):
    def asked():
        plan = plan_of(setting)
        data = {step.stage: step.asked for step in (plan.pairs, plan.tokenized, plan.segmented, plan.scored)}
        arm = plan.arms[-1]
        return data | {
            step.stage: step.asked for step in (arm.selected, arm.trained, arm.generated["tiny"], arm.graded["tiny"])
        }

    before, real = asked(), packages._version
    monkeypatch.setattr(packages, "_version", lambda name: "0.1" if name == library else real(name))
    after = asked()
    changed = {stage for stage in before if before[stage] != after[stage]}
    assert changed == {first, *others, *({"generated", "graded"} if "trained" in others else set())}


@pytest.mark.parametrize(
    ("rankers", "tools"),
    [
        ("quality, long_tail, length", set()),
        ("parses", {"grammars"}),
        ("answers", {"grammars"}),
        ("runs_examples", {"grammars", "python"}),
    ],
)
def test_a_ranking_is_named_by_the_versions_of_what_its_rankers_work_with(setting, monkeypatch, rankers, tools):
    """Also where the segmentation finds nothing else with them."""

    def named():
        identity = plan_of(setting, f"rank.by=[{rankers}]").ranked.identity
        return {key: value for key, value in identity.items() if key != "segmented"}

    before, real = named(), packages._version
    monkeypatch.setattr(packages, "_version", lambda name: "0.1" if name == "tree-sitter-go" else real(name))
    monkeypatch.setattr(interpreters.platform, "python_version", lambda: "3.99.0")
    assert {key for key, value in named().items() if before[key] != value} == tools


def test_the_source_of_a_function_of_the_users_own_names_its_selection(setting, tmp_path, monkeypatch):
    source = "from codeblock.selection.strategies import full\n\ndef mine(*given):\n    return full(*given)\n"
    (tmp_path / "own_rules.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    config = "arms={mine: {strategy: own_rules:mine}, full: {strategy: full}}"
    before = plan_of(setting, config)
    assert plan_of(setting, config).arms[0].selected.asked == before.arms[0].selected.asked
    (tmp_path / "own_rules.py").write_text(source + "# another rule\n")
    after = plan_of(setting, config)
    assert after.arms[0].selected.asked != before.arms[0].selected.asked
    assert after.arms[1].selected.asked == before.arms[1].selected.asked


def test_the_seed_names_an_evaluation_only_where_answers_are_sampled(setting):
    def untrained(*overrides):
        return plan_of(setting, *overrides).arms[0].generated["tiny"].key

    assert untrained("seed=1") == untrained("seed=2")
    assert untrained("evaluate.temperature=0.5", "seed=1") != untrained("evaluate.temperature=0.5", "seed=2")
    assert untrained("evaluate.temperature=0.5", "evaluate.samples=2") != untrained("evaluate.temperature=0.5")


def test_shares_of_pairs_and_of_tokens_name_different_selections(setting):
    """The kept pairs differ, and where an arm has shares of its own, the held-out ones."""

    def keys(*overrides):
        return {arm.selected.key for arm in plan_of(setting, "select.subset_ratio=null", *overrides).arms if arm.selected}

    of_tokens = keys("select.token_budget=0.1", "select.inside_share=0.5")
    assert not of_tokens & keys("select.token_budget=0.1", "select.subset_ratio=0.2")
    assert not of_tokens & keys("select.token_budget=0.2", "select.inside_share=1.0")
    whole = "arms={x: {strategy: whole_pairs}}"
    assert not keys(whole, "select.token_budget=0.1", "select.inside_share=0.5") & keys(
        whole, "select.token_budget=0.1", "select.subset_ratio=0.2"
    )
    own = "arms={x: {strategy: codeblock, select: {token_budget: 0.1, inside_share: 0.5, subset_ratio: 0.2}}}"
    shared = keys(own, "select.token_budget=0.1", "select.inside_share=0.5")
    assert shared == keys(own, "select.token_budget=0.1", "select.inside_share=0.5")
    assert not shared & keys(own, "select.token_budget=null", "select.subset_ratio=0.2")


def test_filters_that_are_off_have_no_step(setting):
    off = ["filter.near_duplicates=null", "filter.decontaminate=false"]
    plan, rated = plan_of(setting, *off), plan_of(setting, *off, "filter.rating={url: 'http://x', model: m}")
    assert [step.stage for step in plan.steps()][:6] == ["pairs", "tokenized", "segmented", "ranked", "kept", "scored"]
    assert [step.stage for step in rated.steps()][:4] == ["pairs", "filtered", "tokenized", "segmented"]
    assert rated.pairs.key == plan.pairs.key
    moved = plan_of(setting, *off, "filter.rating={url: 'http://y', model: m, concurrency: 3}")
    assert moved.filtered.key == rated.filtered.key
    embedded = plan_of(setting, *off, "rank.by=[long_tail]", "rank.embedding=model")
    assert [step.stage for step in embedded.steps()][:5] == ["pairs", "tokenized", "segmented", "embedded", "ranked"]
    by_loss = plan_of(setting, *off, "rank.by=[loss_tails]")
    assert [step.label for step in by_loss.steps()][:6] == ["pairs", "tokenize", "segment", "score[pool]", "rank", "keep"]
    assert by_loss.segmented.key == plan.segmented.key
    assert by_loss.arms[1].selected.key != plan.arms[1].selected.key


def test_a_plan_is_printed_without_the_libraries_that_its_steps_need(tmp_path):
    code = "import sys\nfrom codeblock.cli.commands import app\napp(sys.argv[1:], standalone_mode=False)\n"
    heavy = ("ray", "mlflow", "torch", "transformers", "scipy")
    config = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
    code += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--plan", str(config), f"storage={tmp_path}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
