"""How many of the ranked pairs are kept and scored: as many as some arm looks at, for whatever runs there were before."""

import math

import pyarrow as pa

from codeblock.core.config import Config
from codeblock.core.storage.tables import write_part
from codeblock.data.rank.keep import keep
from codeblock.experiment.cache import Step
from codeblock.experiment.reach import Reach
from codeblock.selection.split import Ranked, split_pairs

PAIRS = 2000


def write_ranked(directory):
    table = {"id": [str(n) for n in range(PAIRS)], "tokens": pa.array([10] * PAIRS, pa.int32()), "rank": list(range(PAIRS))}
    write_part(directory / "part-000000.parquet", pa.table(table))
    return {}


def config(dev_pairs=0, arms=None, **select):
    arms = arms or {"base": {}, "full": {"strategy": "full"}}
    return Config.model_validate({"select": select, "train": {"steps": 1, "dev_pairs": dev_pairs}, "arms": arms})


def test_it_is_known_once_the_pool_is_ranked(tmp_path):
    ranked = Step("ranked", "rank", {}, tmp_path)
    reach = Reach(config(subset_ratio=0.1), ranked)
    assert reach() == math.inf
    ranked.run(write_ranked)
    assert reach() == 200


def test_the_arm_that_looks_furthest_decides_and_held_out_pairs_count(tmp_path):
    ranked = Step("ranked", "rank", {}, tmp_path)
    ranked.run(write_ranked)
    far = {"near": {"strategy": "full"}, "far": {"strategy": "codeblock", "select": {"subset_ratio": 0.5}}}
    assert Reach(config(arms=far, subset_ratio=0.1), ranked)() == 1000
    assert Reach(config(arms={"base": {}}), ranked)() == 0
    asked = config(dev_pairs=50, subset_ratio=0.5)
    shares = asked.select.shares
    split = split_pairs(Ranked.read(ranked.directory), shares, shares, 50, 0)
    assert Reach(asked, ranked)() == split.reach > 1000


def test_runs_of_other_shares_and_held_out_pairs_before_do_not_hide_that_more_is_needed(tmp_path):
    """A wide run without held-out pairs and a narrow one with them are together not a wide one with them."""
    prepared = tmp_path / "prepared"
    write_part(prepared / "part-000000.parquet", pa.table({"id": [str(n) for n in range(PAIRS)]}))
    ranked = Step("ranked", "rank", {}, tmp_path)
    ranked.run(write_ranked)

    def kept(asked):
        reach = Reach(asked, ranked)
        step = Step("kept", "keep", {"ranked": ranked.key}, tmp_path, reach)
        step.run(lambda output: keep(prepared, ranked.directory, output, int(reach())), resume=True)
        assert (step.facts or {})["kept"] >= reach()
        return (step.facts or {})["kept"]

    wide, narrow, both = config(subset_ratio=0.512), config(60, subset_ratio=0.05), config(60, subset_ratio=0.512)
    assert [kept(asked) for asked in (wide, narrow, both, narrow)] == [1024, 1024, 1280, 1280]
