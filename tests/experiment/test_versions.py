"""What decides a result besides the config: libraries, and the source of the user's own functions with what it imports."""

import sys
from importlib.metadata import version

import pytest

from codeblock.core.config.file import load_config
from codeblock.core.installed import installed
from codeblock.experiment.versions import own_sources, source_digest
from codeblock.sandbox.interpreters import interpreter


def test_versions_are_those_that_are_installed():
    assert installed(["numpy", "no-such-package"]) == {"no-such-package": "", "numpy": version("numpy")}
    assert "+" not in installed(["torch"])["torch"]


def test_another_interpreter_is_known_by_its_packages(tmp_path):
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    (site / "pandas-2.0.0.dist-info").mkdir(parents=True)
    before = interpreter(str(tmp_path / "bin" / "python"))
    assert interpreter(str(tmp_path / "bin" / "python")) == before
    (site / "pandas-2.0.0.dist-info").rename(site / "pandas-2.0.1.dist-info")
    assert interpreter(str(tmp_path / "bin" / "python")) != before
    assert interpreter(None)["python"] == ".".join(map(str, sys.version_info[:3]))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose module imports two others of it, one of them by way of the other, and numpy."""
    sources = {
        "mine/__init__.py": "",
        "mine/rules.py": "import numpy as np\nfrom .deep import helper\n\ndef rule(pair, settings, rng):\n    return helper\n",
        "mine/deep/__init__.py": "",
        "mine/deep/helper.py": "from mine import more\n",
        "mine/more.py": "X = 1\n",
        "mine/unused.py": "X = 1\n",
        "alone_rules.py": "import alone_helper\n",
        "alone_helper.py": "X = 1\n",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mine", "alone_rules", "alone_helper")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("module", "file", "counts"),
    [
        ("mine.rules", "mine/rules.py", True),
        ("mine.rules", "mine/deep/helper.py", True),
        ("mine.rules", "mine/more.py", True),
        ("mine.rules", "mine/__init__.py", True),
        ("mine.rules", "mine/unused.py", False),
        ("mine.rules", "alone_helper.py", False),
        ("alone_rules", "alone_helper.py", True),
    ],
)
def test_a_function_is_told_by_its_source_and_by_what_it_imports_of_the_users_own(package, module, file, counts):
    before = source_digest(module)
    assert source_digest(module) == before
    (package / file).write_text((package / file).read_text() + "# changed\n")
    assert (source_digest(module) != before) == counts


def test_the_files_of_strategies_of_ones_own_are_known_by_the_paths_at_which_they_are_found(package):
    arms = "a: {strategy: 'mine.rules:rule'}, b: {strategy: codeblock}, c: {strategy: 'codeblock.selection.strategies:full'}"
    assert own_sources(load_config(None, [f"arms={{{arms}}}"])) == {
        name: package / name
        for name in ("mine/__init__.py", "mine/rules.py", "mine/deep/__init__.py", "mine/deep/helper.py", "mine/more.py")
    }
    swept = "sweep.space.strategy=['alone_rules:rule', full]"
    assert set(own_sources(load_config(None, ["arms={a: {strategy: full}}", swept]))) == {"alone_rules.py", "alone_helper.py"}
    assert own_sources(load_config(None, ["arms={a: {strategy: full}}"])) == {}
