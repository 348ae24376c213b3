"""A process looks for garbage once it has imported what it needs, and from then on as Python does. Each in one of its own."""

import gc
import subprocess
import sys

import pytest
import ray

from codeblock.core.collecting import IMPORTED

BEGIN = """
import gc
from codeblock.core import collecting
python = gc.get_threshold()
def looks():
    return sum(each["collections"] for each in gc.get_stats())
"""


def told(code):
    """What a Python process prints."""
    ended = subprocess.run([sys.executable, "-c", BEGIN + code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_nothing_is_looked_at_while_much_is_made_and_then_as_often_as_python_does():
    made = "kept = [[] for _ in range(100_000)]\n"
    later = "collecting.collect_later()\nbefore = looks()\n" + made + "print(looks() - before)\n"
    again = "collecting.collect_again()\nprint(gc.get_threshold() == python, gc.get_freeze_count() > 100_000)\n"
    after = "before = looks()\nmore = [[] for _ in range(100_000)]\nprint(looks() - before > 10)\n"
    assert told(later + again + after) == ["0", "True", "True", "True"]
    assert int(*told("before = looks()\n" + made + "print(looks() - before)\n")) > 10, "left alone, it looks again and again"


def test_the_first_look_comes_by_itself_where_more_is_made_than_imports_make():
    code = "collecting.IMPORTED = 5_000\ncollecting.collect_later()\nkept = [[] for _ in range(20_000)]\n"
    assert told(code + "print(gc.get_threshold() == python, gc.callbacks)\n") == ["True", "[]"]


def test_it_is_put_off_once():
    code = "collecting.collect_later()\ncollecting.collect_again()\ncollecting.collect_later()\n"
    assert told(code + "print(gc.get_threshold() == python)\n") == ["True"]


@pytest.mark.parametrize("own", ["gc.disable()", "gc.set_threshold(50_000, 5, 5)"])
def test_what_somebody_has_set_stays(own):
    code = f"{own}\nset_ = gc.isenabled(), gc.get_threshold()\ncollecting.collect_later()\n"
    assert told(code + "print((gc.isenabled(), gc.get_threshold()) == set_, gc.get_freeze_count())\n") == ["True", "0"]


def test_the_command_line_puts_it_off_and_a_model_that_is_loaded_brings_it_back(small_model):
    code = "from codeblock.cli.commands import main\ntry:\n    main(['nothing'])\nexcept SystemExit:\n    pass\n"
    load = f"from codeblock.core.models.load import load_model\nload_model({str(small_model)!r})\n"
    code += f"print(gc.get_threshold()[0])\n{load}print(gc.get_threshold() == python)\n"
    assert told(code)[-2:] == [str(IMPORTED), "True"]


def test_a_worker_process_puts_it_off(ray_cluster):
    """In one that has done nothing else: its variable is none that others ask for."""
    fresh = ray.remote(num_cpus=0, runtime_env={"env_vars": {"CODEBLOCK_TEST": "collecting"}})
    assert ray.get(fresh(lambda: gc.get_threshold()[0]).remote()) == IMPORTED
