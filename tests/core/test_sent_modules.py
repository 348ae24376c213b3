"""Modules of the user's own that go to the nodes: found there by their own names, before what a node has."""

import importlib
import sys
from pathlib import Path

import pytest

from codeblock.core.ray_worker import find_sent_modules
from codeblock.core.sent_modules import sent


@pytest.fixture
def sources(tmp_path):
    for name, text in {"sent_rules/deep.py": "VALUE = 1\n", "sent_alone.py": "from sent_rules.deep import VALUE\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return {name: tmp_path / name for name in ("sent_rules/deep.py", "sent_alone.py")}


def test_a_worker_imports_what_was_sent_in_place_of_a_module_that_its_node_has(sources, tmp_path, monkeypatch):
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "sent_alone.py").write_text("VALUE = 2\n")
    with sent(sources) as fields:
        (package,) = fields["py_modules"]
        # Ray puts the directory above a package that was sent first on the path of a worker.
        monkeypatch.setattr(sys, "path", [str(Path(package).parent), str(tmp_path / "node"), *sys.path])
        find_sent_modules()
        assert importlib.import_module("sent_alone").VALUE == 1
    for name in ("sent_alone", "sent_rules.deep", "sent_rules"):
        monkeypatch.delitem(sys.modules, name)


def test_nothing_is_sent_without_modules_or_from_a_job_whose_directory_all_nodes_have(sources, monkeypatch):
    with sent({}) as fields:
        assert fields == {}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with sent(sources) as fields:
        assert fields == {}
