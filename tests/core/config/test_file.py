"""Mistakes in a config are one line that names the key and the nearest valid one."""

from pathlib import Path

import pytest

from codeblock.core.config import Config
from codeblock.core.config.file import dump_config, load_config
from codeblock.core.config.pairs import PairsSource
from codeblock.core.errors import CodeBlockError


def test_defaults_then_file_then_overrides(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("train: {steps: 7, learning_rate: 1.0e-3}\nselect: {token_budget: 0.5}\n")
    config = load_config(path, ["train.steps=9", "arms.codeblock.select.token_budget=0.1"])
    assert (config.train.steps, config.train.learning_rate, config.train.batch_pairs) == (9, 1e-3, 32)
    assert config.settings_of("codeblock").token_budget == 0.1
    assert config.settings_of("full").token_budget == 0.5


def test_tables_that_the_user_names_replace_the_default(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("arms: {mine: {strategy: full}}\n")
    assert list(load_config(path).arms) == ["mine"]


def test_a_dumped_config_loads_to_the_same(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(dump_config(Config()))
    assert load_config(path) == Config()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.learning_rte=1", r"train.learning_rte: unknown key; did you mean train.learning_rate\?"),
        ("trian.steps=4", r"trian: unknown key; did you mean train\?"),
        ("arms.codeblock.select.token_budgt=0.1", r"did you mean arms.codeblock.select.token_budget\?"),
        ("arms.codeblock.strateg=full", r"did you mean arms.codeblock.strategy\?"),
        ("train.steps=abc", r"train.steps: .* \(found 'abc'\)"),
        ("train.steps=0", r"train.steps: .*greater than or equal to 1"),
        ("select.token_budget=1.5", r"select.token_budget: .*less than or equal to 1"),
        ("select.scope=datset", r"select.scope: .*'dataset'"),
        ("train.steps.x=1", r"train.steps is a value, not a section"),
        ("pairs=5", r"pairs: .*found 5"),
        ("evaluate.samples=4", r"evaluate.samples=4 needs evaluate.temperature above 0"),
        ("arms={}", r"name at least one arm"),
        ("select.mixture={'': 0.5}", r"mixture: a data set without a name; name it"),
        ("pairs.path=[{path: a, colums: {}}]", r"pairs.path.0.colums: unknown key; did you mean pairs.path.0.columns\?"),
        ("pairs.path=[a, {path: b, splt: x}]", r"pairs.path.1.splt: unknown key; did you mean pairs.path.1.split\?"),
        ("pairs.path=[{name: a}]", r"pairs.path.0.path: field required"),
        ("pairs.path=[a, 5]", r"pairs.path: entry 1 is 5; a path or a mapping with a path is expected"),
        ("pairs.path=[]", r"pairs.path: list should have at least 1 item"),
        ("pairs.path=5", r"pairs.path: input should be a valid string \(found 5\)"),
        ("pairs.path=[{path: a, name: x}, {path: b, name: x}]", r"pairs.path: two data sets are named 'x'; give each"),
        ("pairs.columns={instrction: x}", r"pairs.columns: instrction: unknown key; did you mean instruction\?"),
        (
            "pairs.columns={a: x}",
            r"a: unknown key; there are instruction, input, response, messages, system, history, tools, thought, images, ",
        ),
        ("pairs.path=[{path: a, columns: {respons: x}}]", r"pairs.path.0.columns: respons: .* did you mean response\?"),
        ("train.steps", r"write section.key=value"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(override, says):
    with pytest.raises(CodeBlockError, match=says) as error:
        load_config(None, [override])
    assert "\n" not in str(error.value)


def test_data_sets_are_listed_and_one_of_them_is_overridden(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("pairs: {path: [a.jsonl, {path: b.json, columns: {response: code}}]}\n")
    config = load_config(path, ["pairs.path.1.path=c.json", "pairs.path.1.columns.instruction=task"])
    assert config.pairs.path == [
        PairsSource(path="a.jsonl"),
        PairsSource(path="c.json", columns={"response": "code", "instruction": "task"}),
    ]
    path.write_text(dump_config(config))
    assert load_config(path) == config
    assert load_config(None, ["pairs.path=[a.jsonl,b.jsonl]"]).pairs.path == [
        PairsSource(path="a.jsonl"),
        PairsSource(path="b.jsonl"),
    ]
    assert load_config(None, ["pairs.path={path: a.jsonl}"]).pairs.path == [PairsSource(path="a.jsonl")]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("pairs.path.2.path=c", "2 is no entry of this list; its entries are 0 to 1"),
        ("pairs.path.x=c", "x is no entry of this list; its entries are 0 to 1"),
        ("pairs.path.0.name=c", "pairs.path.0 is a value, not a section"),
    ],
)
def test_an_entry_that_is_not_there_is_named(override, says):
    with pytest.raises(CodeBlockError, match=says) as error:
        load_config(None, ["pairs.path=[a, {path: b}]", override])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [("train: [1\n", "line 2, not valid YAML"), ("- 1\n", "sections expected"), ("train: {steps: 1, epochs: 1}", "not both")],
)
def test_a_broken_file_is_named(tmp_path, text, says):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(CodeBlockError, match=says) as error:
        load_config(path)
    assert str(path) in str(error.value)


def test_every_field_says_what_it_is():
    def undocumented(model, prefix=""):
        for name, field in model.model_fields.items():
            inner = field.annotation if isinstance(field.annotation, type) else None
            if inner is not None and hasattr(inner, "model_fields"):
                yield from undocumented(inner, f"{prefix}{name}.")
            elif not field.description:
                yield prefix + name

    assert list(undocumented(Config)) == ["arms"]


def test_a_tilde_is_the_home_directory_wherever_a_path_stands(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "config.yaml"
    path.write_text("storage: ~/runs\npairs: {path: [~/a.jsonl, {path: ~/b.jsonl}]}\nevaluate: {benchmarks: {mbpp: ~/m.jsonl}}")
    config = load_config(path, ["model.path=~/model", "score.model=~/ref", "evaluate.pythons={mbpp: ~/bin/python}"])
    assert config.storage == tmp_path / "runs"
    assert [source.path for source in config.pairs.path] == [f"{tmp_path}/a.jsonl", f"{tmp_path}/b.jsonl"]
    assert (config.model.path, config.score.model) == (f"{tmp_path}/model", f"{tmp_path}/ref")
    assert config.evaluate.benchmarks == {"mbpp": f"{tmp_path}/m.jsonl"}
    assert config.evaluate.pythons == {"mbpp": f"{tmp_path}/bin/python"}
    assert load_config(None, ["pairs.path=~/c.jsonl"]).pairs.path == f"{tmp_path}/c.jsonl"
    assert load_config(None, ["model.path=~nobody-of-that-name/x"]).model.path == "~nobody-of-that-name/x"


@pytest.mark.parametrize(
    "text", ["data/*.jsonl", "*.jsonl", "run #1", "what?", "a: b", "100%", "@here", "a&b", "!x", "v2 [final]/a", "- a"]
)
def test_a_path_on_the_command_line_is_taken_as_it_is(text):
    config = load_config(
        None, [f"storage={text}", f"pairs.path={text}", f"model.path={text}", f"evaluate.benchmarks.mbpp={text}"]
    )
    assert (str(config.storage), config.pairs.path, config.model.path) == (text, text, text)
    assert config.evaluate.benchmarks["mbpp"] == text


def test_a_path_that_looks_like_a_list_is_one_where_it_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "[v2] a").mkdir()
    (tmp_path / "[v2]").mkdir()
    assert load_config(None, ["pairs.path=[v2] a"]).pairs.path == "[v2] a"
    assert load_config(None, ["pairs.path=[v2]"]).pairs.path == "[v2]"
    assert [source.path for source in load_config(None, ["pairs.path=[a, b]"]).pairs.path] == ["a", "b"]
    assert load_config(None, ["pairs.path='quoted'", "score.model=null"]).pairs.path == "quoted"
    assert load_config(None, ["score.model=null"]).score.model is None


def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("name: a\ntrain:\n  steps: 10\n  dtype: float32\n  steps: 20\n")
    with pytest.raises(CodeBlockError) as caught:
        load_config(path)
    assert str(caught.value) == f"config {path}: train.steps stands on line 3 and again on line 5; remove one"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("arms:\n  a: &a\n    select: *a\n", "line 3, *a stands inside of what it stands for; write what is meant"),
        ("arms: &b [1, {a: *b}]\n", "line 1, *b stands inside of what it stands for; write what is meant"),
        ("pairs:\n  path: [{path: a,\n    path: b}]\n", "pairs.path.path stands on line 2 and again on line 3; remove one"),
        ("seeds: " + "[" * 5000, "more levels of brackets than can be read; write fewer"),
    ],
)
def test_yaml_that_nobody_means_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(CodeBlockError) as caught:
        load_config(path)
    assert str(caught.value) == f"config {path}: {says}"


def test_an_alias_that_ends_before_it_is_used_stays(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("arms:\n  a: &a {strategy: full}\n  b: {<<: *a, generate: false}\n  c: *a\n")
    config = load_config(path)
    assert [(arm.strategy, arm.generate) for arm in config.arms.values()] == [("full", True), ("full", False), ("full", True)]


def test_an_override_says_what_is_wrong_with_its_value() -> None:
    with pytest.raises(CodeBlockError) as caught:
        load_config(None, ["train={steps: 1, steps: 2}"])
    assert str(caught.value) == (
        "override 'train={steps: 1, steps: 2}': steps stands on line 1 and again on line 1; remove one"
    )


@pytest.mark.parametrize(
    ("override", "key", "name"),
    [
        ("arms={a/b: {strategy: full}}", "arms", "a/b"),
        ("arms={..: {}}", "arms", ".."),
        ("arms={full seed 1: {strategy: full}}", "arms", "full seed 1"),
        ("arms={'': {}}", "arms", ""),
        ("name=..", "name", ".."),
        ("name=a/b", "name", "a/b"),
        ("sweep.register_as=team:coder", "sweep.register_as", "team:coder"),
    ],
)
def test_what_directories_and_runs_are_called_by_is_a_name(override: str, key: str, name: str) -> None:
    with pytest.raises(CodeBlockError) as caught:
        load_config(None, [override])
    allowed = "letters (A-Z, a-z), digits, `_`, `-` and `.`, first a letter, a digit or `_`"
    assert str(caught.value) == f"config: {key}: {name!r} cannot stand for a directory or in MLflow; write {allowed}"


def test_names_may_have_dots_and_dashes() -> None:
    assert list(load_config(None, ["arms={_v1.5-a: {strategy: full}}", "name=2.5-coder"]).arms) == ["_v1.5-a"]


@pytest.mark.parametrize("value", ["", "''", "null", "' '"])
@pytest.mark.parametrize("key", ["storage", "model.path", "pairs.path", "evaluate.benchmarks.mbpp"])
def test_a_path_that_has_to_be_named_is_not_empty(key: str, value: str) -> None:
    with pytest.raises(CodeBlockError) as caught:
        load_config(None, [f"{key}={value}"])
    empty = f"config: {key}: is empty; name a path, or leave the key out for its default"
    assert str(caught.value) == empty


@pytest.mark.parametrize(
    "override", ["train.learning_rate=.inf", "seed=-1", "seeds=[0, 4294967296]", "select.reach_weight=.nan"]
)
def test_numbers_that_no_run_could_use_are_refused(override: str) -> None:
    with pytest.raises(CodeBlockError, match=override.partition("=")[0].replace(".", r"\.")):
        load_config(None, [override])


def test_a_misspelt_key_of_an_arm_is_held_against_those_of_arms() -> None:
    with pytest.raises(CodeBlockError, match=r"arms\.mine\.selct: unknown key; did you mean arms\.mine\.select\?"):
        load_config(None, ["arms={mine: {strategy: codeblock, selct: {}}}"])
