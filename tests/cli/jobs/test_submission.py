"""What a job is called, which command it runs, what is refused before anything is sent."""

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from codeblock.cli.commands import app
from codeblock.cli.jobs.commands import command_words
from codeblock.cli.jobs.package import Parcel
from codeblock.cli.jobs.places import check_homes, check_output, check_places
from codeblock.cli.jobs.submission import Driver, commit, job_id, plan_submission
from codeblock.core.config.file import load_config
from codeblock.core.errors import CodeBlockError


def test_an_id_says_who_what_and_when():
    when = datetime(2026, 11, 26, 22, 5, 14, tzinfo=UTC)
    assert job_id("jane", "quickstart", when) == "jane-quickstart-20261126-220514"
    assert job_id("DOMAIN\\jane doe", "my.run_2", when) == "DOMAIN-jane-doe-my.run_2-20261126-220514"
    assert job_id("\\", "run", when) == "user-run-20261126-220514"


def test_the_command_is_the_one_that_a_user_would_type():
    config = load_config(None, ["name=mine", "storage=/shared"])
    parcel = Parcel(Path("/s/codeblock"), Path("/s/work"), "mine.yaml")
    overrides = ["storage=/shared", "evaluate.benchmarks={tiny: tiny}"]
    found = plan_submission(config, ["run", "--plan"], overrides, parcel, {"A": "1"}, Driver(2, "driver"))
    assert found.entrypoint == ("python -m codeblock run mine.yaml storage=/shared 'evaluate.benchmarks={tiny: tiny}' --plan")
    assert found.runtime_env == {"working_dir": "/s/work", "py_modules": ["/s/codeblock"], "env_vars": {"A": "1"}}
    assert found.driver.arguments() == {"entrypoint_num_cpus": 2, "entrypoint_resources": {"driver": 0.001}}
    assert re.fullmatch(r".+-mine-\d{8}-\d{6}", found.id)
    assert {key: found.metadata[key] for key in ("config", "command")} == {"config": "mine", "command": "run"}


def test_a_driver_asks_for_nothing_by_default():
    assert Driver().arguments() == {}


def test_the_commit_says_where_files_differ_from_it(tmp_path):
    def git(*arguments):
        who = ["-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    assert commit(tmp_path) == "unknown"
    git("init")
    (tmp_path / "a.py").write_text("a")
    git("add", ".")
    git("commit", "-m", "a")
    assert re.fullmatch(r"[0-9a-f]{40}", commit(tmp_path))
    (tmp_path / "a.py").write_text("b")
    assert re.fullmatch(r"[0-9a-f]{40}\+changes", commit(tmp_path))


@pytest.mark.parametrize("name", ["run", "sweep", "prepare", "score", "select", "train", "evaluate", "compare", "export"])
def test_every_command_that_works_on_a_config_can_be_submitted(name):
    assert command_words(f"{name} --some option") == [name, "--some", "option"]


@pytest.mark.parametrize("name", ["ui", "submit", "doctor", "nothing", ""])
def test_other_commands_cannot(name):
    with pytest.raises(CodeBlockError, match="no command for a cluster; there are run, prepare"):
        command_words(name)


def test_the_commands_are_in_the_program():
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert {"submit", "jobs", "logs", "stop"} <= names


def test_a_storage_that_ends_with_the_job_is_refused():
    with pytest.raises(CodeBlockError, match=r"^storage=runs: a job's own directory is removed with it; name one that all"):
        check_places(load_config(None, []), [])
    check_places(load_config(None, ["storage=/shared/runs"]), [])


def test_what_lies_on_this_machine_alone_is_refused_unless_it_is_sent_along(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / "data" / name).write_text("")
    here = load_config(None, ["storage=/shared", "pairs.path=data/*.jsonl", "evaluate.benchmarks={humaneval: data/a.jsonl}"])
    with pytest.raises(CodeBlockError, match=r"^pairs.path=data/\*.jsonl: lies on this machine; .* --include data/\*.jsonl$"):
        check_places(here, [])
    check_places(here, [Path("data")])
    check_places(load_config(None, ["storage=/shared", "pairs.path=owner/name", "model.path=/models/m"]), [])


@pytest.mark.parametrize("asked", ["export", "export --out masks", "merge --out=merged --arm codeblock"])
def test_what_a_job_writes_into_its_own_directory_is_refused(asked):
    with pytest.raises(CodeBlockError, match=r"--out.*: a job's own directory is removed with it; .*--out /shared/\w+'$"):
        check_output(asked.split())


@pytest.mark.parametrize("asked", ["run", "export --out /shared/masks", "merge --out=/shared/merged"])
def test_what_stays_is_sent(asked):
    check_output(asked.split())


def test_a_function_of_ones_own_is_sent_along(tmp_path, monkeypatch):
    (tmp_path / "picks_of_mine.py").write_text("def pick(pair, settings, rng):\n    return []\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    config = load_config(None, ["storage=/shared", "arms={own: {strategy: 'picks_of_mine:pick'}}"])
    with pytest.raises(CodeBlockError) as refused:
        check_places(config, [])
    assert str(refused.value) == (
        "arms.own.strategy=picks_of_mine:pick: picks_of_mine.py lies on this machine; send it along with --include "
        "picks_of_mine.py"
    )
    check_places(config, [Path("picks_of_mine.py")])
    check_places(load_config(None, ["storage=/shared", "arms={own: {strategy: 'installed_there:pick'}}"]), [])


def test_a_home_is_another_one_on_the_cluster(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("# in ~/ here\nname: a~b\npairs: {path: [/data/~/x.jsonl]}\n")
    check_homes(config, ["storage=/shared/~runs", "name=~"])
    for override in ("storage=~/runs", "model.path='~/models/a'", "pairs.path=[~jane/a.jsonl]"):
        with pytest.raises(CodeBlockError, match=r"~\w*/ is another directory on the cluster; write the whole path$"):
            check_homes(config, [override])
    for line in ("storage: ~/runs", "- ~/pairs.jsonl"):
        config.write_text(f"{line}\n")
        with pytest.raises(CodeBlockError) as refused:
            check_homes(config, [])
        assert str(refused.value) == f"{line}: ~/ is another directory on the cluster; write the whole path"
