"""What is sent: the package without its caches, the config, what was included, and never more than a cluster takes."""

import os
from pathlib import Path

import pytest

import codeblock
from codeblock.cli.jobs.package import MOST_MIB, check_size, files_below, pack
from codeblock.core.errors import CodeBlockError


def test_the_package_is_sent_whole_and_nothing_else(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("name: mine\n")
    parcel = pack(config, [], tmp_path / "scratch")
    own = Path(codeblock.__path__[0])
    sent = {file.relative_to(parcel.module) for file in parcel.module.rglob("*") if file.is_file()}
    kept = {file.relative_to(own) for file in own.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    assert sent == kept
    assert [file.name for file in files_below(parcel.work)] == ["mine.yaml"]
    assert parcel.config == "mine.yaml"
    assert 0.5 < parcel.sizes["codeblock"] / 2**20 < 5
    assert parcel.sizes["config and included files"] == 11


def test_included_files_keep_their_place(tmp_path):
    (tmp_path / "data" / "more").mkdir(parents=True)
    (tmp_path / "data" / "pairs.jsonl").write_text("{}")
    (tmp_path / "data" / "more" / "b.jsonl").write_text("{}")
    (tmp_path / "mine.yaml").write_text("")
    parcel = pack(tmp_path / "mine.yaml", [tmp_path / "data"], tmp_path / "scratch", root=tmp_path)
    sent = [str(file.relative_to(parcel.work)) for file in files_below(parcel.work)]
    assert sent == ["data/more/b.jsonl", "data/pairs.jsonl", "mine.yaml"]


def test_what_is_missing_or_outside_is_an_error(tmp_path):
    (tmp_path / "mine.yaml").write_text("")
    (tmp_path / "here").mkdir()
    with pytest.raises(CodeBlockError, match=r"^--include .*absent: there is no such file"):
        pack(tmp_path / "mine.yaml", [tmp_path / "absent"], tmp_path / "scratch", root=tmp_path)
    with pytest.raises(CodeBlockError, match=r"^--include .*mine.yaml: lies outside .*here; start"):
        pack(tmp_path / "mine.yaml", [tmp_path / "mine.yaml"], tmp_path / "scratch", root=tmp_path / "here")


def test_too_much_names_the_largest_files_before_anything_is_copied(tmp_path):
    (tmp_path / "weights").mkdir()
    for name, mib in (("a.bin", 60), ("b.bin", 50), ("c.bin", 1)):
        with (tmp_path / "weights" / name).open("wb") as file:
            os.truncate(file.fileno(), mib * 2**20)
    (tmp_path / "mine.yaml").write_text("")
    named = r"a.bin 60.0 MiB, \S+b.bin 50.0 MiB, \S+c.bin 1.0 MiB, \S+mine.yaml 0.0 MiB; put"
    with pytest.raises(CodeBlockError, match=rf"^submit: 111.0 MiB to send, a cluster takes 100 MiB; .*{named}"):
        pack(tmp_path / "mine.yaml", [tmp_path / "weights"], tmp_path / "scratch", root=tmp_path)
    assert not (tmp_path / "scratch").exists()


def test_exactly_the_limit_is_sent(tmp_path):
    with (tmp_path / "whole").open("wb") as file:
        os.truncate(file.fileno(), int(MOST_MIB * 2**20))
    check_size([tmp_path / "whole"])


def test_the_limit_is_ray_s_own():
    from ray._private.ray_constants import DASHBOARD_CLIENT_MAX_SIZE

    assert MOST_MIB * 2**20 == DASHBOARD_CLIENT_MAX_SIZE
