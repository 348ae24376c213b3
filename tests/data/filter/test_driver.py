"""The whole stage over parts, with Ray: what is kept, what is counted, and what an interrupted run does not do twice."""

import pytest

from codeblock.core.config import ClusterConfig, FilterConfig, RatingConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import PAIRS
from codeblock.core.storage.tables import part_name, parts, read_part, read_table, write_part
from codeblock.data.filter.contamination import BenchmarkText
from codeblock.data.filter.driver import filter_pairs

TASK = BenchmarkText("made", "made/1", "Say which of the numbers of a list are larger than the mean of all of them.", "")
LONG = "def total(values):\n    " + "\n    ".join(f"step_{n} = values[{n}] + {n}" for n in range(40)) + "\n    return step_39"


@pytest.fixture
def pairs(tmp_path, pairs_table):
    """Three parts of 10 rows. Row 12 is a copy of row 3 and row 25 of row 12, a word changed each; row 4 holds a task."""
    rows = [
        (f"Write function number {n}.", f"def f_{n}(x):\n    return x + {n} * {n + 1} - {n + 2}", n / 30) for n in range(30)
    ]
    rows[3] = ("Add up.", LONG, 0.1)
    rows[12] = ("Add up.", LONG.replace("step_7", "seventh"), 0.9)
    rows[25] = ("Add up.", LONG.replace("step_7", "seventh").replace("step_20", "twentieth"), 0.9)
    rows[4] = (TASK.prompt, "Here you are.", 0.9)
    table = pairs_table(rows)
    for part in range(3):
        write_part(tmp_path / "pairs" / part_name(part), table.slice(10 * part, 10))
    return tmp_path / "pairs"


def run(pairs, output, config):
    return filter_pairs(pairs, output, config, [TASK], ClusterConfig())


def test_rows_are_kept_or_counted_with_their_reason(ray_cluster, pairs, tmp_path):
    facts = run(pairs, tmp_path / "out", FilterConfig(min_quality=0.05))
    reasons = {"near_duplicate": 2, "contaminated": 1, "below_min_quality": 2}
    assert (facts["read"], facts["kept"], facts["reasons"]) == (30, 25, reasons)
    kept, lost = read_table(tmp_path / "out"), read_table(tmp_path / "out" / "rejected")
    assert kept.schema == PAIRS
    assert [int(id_) for id_ in kept["id"].to_pylist()] == sorted({*range(30)} - {0, 1, 4, 12, 25})
    details = {int(row["id"]): row for row in lost.to_pylist()}
    assert details[12]["detail"].startswith(f"of {3:024d}, Jaccard 0.")
    assert details[25]["detail"].startswith(f"of {3:024d}, Jaccard 0.")
    assert details[4]["detail"].startswith("made, made/1: say which of the numbers")
    assert {row["stage"] for row in details.values()} == {"filtered"}
    assert not (tmp_path / "out" / "work").exists()


def test_a_filter_that_is_off_takes_nothing(ray_cluster, pairs, tmp_path):
    facts = run(pairs, tmp_path / "out", FilterConfig(near_duplicates=None, decontaminate=False, min_quality=0))
    assert (facts["kept"], facts["reasons"]) == (30, {})
    assert read_table(tmp_path / "out").equals(read_table(pairs))


def test_ratings_are_asked_for_once_even_where_a_run_is_cut_off(ray_cluster, pairs, tmp_path, stand_in):
    rating = RatingConfig(url=stand_in.url, model="judge", key_env="RATING_KEY", overwrite=True)
    config = FilterConfig(near_duplicates=None, decontaminate=False, rating=rating)
    facts = run(pairs, tmp_path / "out", config)
    assert (facts["kept"], facts["rating_asked"], facts["rating_failed"]) == (30, 30, 0)
    assert set(read_table(tmp_path / "out")["quality"].to_pylist()) == {4.5}
    assert stand_in.requests["good"] == 30
    parts(tmp_path / "out")[1].unlink()
    assert run(pairs, tmp_path / "out", config)["rating_asked"] == 30
    assert stand_in.requests["good"] == 40


def test_an_endpoint_that_goes_away_ends_the_run_and_keeps_what_was_rated(ray_cluster, pairs, tmp_path, stand_in):
    rating = RatingConfig(url=stand_in.url, model="judge", key_env="RATING_KEY", overwrite=True, retries=0)
    config = FilterConfig(near_duplicates=None, decontaminate=False, rating=rating)
    run(pairs, tmp_path / "out", config)
    parts(tmp_path / "out")[2].unlink()
    stand_in.shutdown()
    stand_in.server_close()
    with pytest.raises(
        CodeBlockError, match=r"no reply .* for a whole part, retries included; see to the server and run again"
    ):
        run(pairs, tmp_path / "out", config)
    assert [read_part(path).num_rows for path in parts(tmp_path / "out")] == [10, 10]
