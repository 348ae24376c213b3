"""Each ranker on pairs for which its value can be told by hand."""

import numpy as np
import pyarrow as pa
import pytest
from tests.data.rank.conftest import pair

from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import EMBEDDED
from codeblock.core.storage.tables import part_name, write_part
from codeblock.data.rank import rankers
from codeblock.data.rank.registry import get_ranker, needs_of, offline_names, ranker_names

NAN = float("nan")


def values(name, pool):
    found = get_ranker(name).measure(pool)
    assert found.dtype == np.float32
    return pytest.approx(found.tolist(), nan_ok=True, abs=1e-3)


def test_the_registry():
    names = "answers length long_tail loss_tails near_duplicate parses quality random runs_examples"
    assert ranker_names() == names.split()
    assert needs_of(["quality", "long_tail"]) == {"embedding"}
    assert needs_of(["parses", "loss_tails"]) == {"nll"}
    assert offline_names() == ["answers", "length", "long_tail", "near_duplicate", "parses", "runs_examples"]
    with pytest.raises(CodeBlockError, match=r"^rank\.by: ranker 'long_tial' is not known; did you mean long_tail\?$"):
        get_ranker("long_tial")
    with pytest.raises(CodeBlockError, match="there are answers, length"):
        get_ranker("?")


def test_quality_is_the_column_of_the_data(make_pool):
    pool = make_pool([pair(quality=0.5), pair(quality=None), pair(quality=NAN), pair(quality=1)])
    assert values("quality", pool) == [0.5, NAN, NAN, 1]


def test_parses_is_a_share_of_the_blocks_in_languages_with_grammars(make_pool):
    whole, broken, query = "```python\nx = 1\n```\n", "```python\nx = (1\n```\n", "```sql\nSELECT 1\n```\n"
    texts = [whole, broken, whole + broken, query, query + whole, "Only words.", "x = 1\nprint(x)"]
    pool = make_pool([pair(response=text) for text in texts])
    assert values("parses", pool) == [1, 0, 0.5, NAN, 1, 0, 1]


def test_answers_holds_the_response_against_the_instruction(make_pool):
    asked, code = "Write a Python function `area`.", "```python\ndef area(r):\n    return r\n```"
    pool = make_pool(
        [
            pair(asked, code),
            pair(asked, code.replace("area", "volume")),
            pair(asked, "```java\nint area(int r) {\n    return r;\n}\n```"),
            pair("Compute an area.", code),
            pair(asked, "I would multiply."),
        ]
    )
    assert values("answers", pool) == [1, 0, 0, NAN, 0]


def test_runs_examples_reads_all_parts(make_pool):
    pool = make_pool([pair(response=f"```python\nprint(abs(-{n}))  # {n % 3}\n```") for n in range(5)], block=2)
    assert values("runs_examples", pool) == [1, 1, 1, 0, 0]


def test_length_is_the_robust_distance_of_the_log_from_the_pools(make_pool):
    pool = make_pool([pair(tokens=tokens) for tokens in (1, 10, 100, 1000, 10_000)])
    unit = 1 / 1.4826
    assert values("length", pool) == [-2 * unit, -unit, 0, -unit, -2 * unit]


def test_where_most_are_equal_the_others_are_one_step_away():
    assert rankers.robust_z(np.array([3.0, 3, 3, 1, 9])).tolist() == [0, 0, 0, -1, 1]
    assert np.isnan(rankers.robust_z(np.array([NAN]))).all()


def test_loss_tails_is_the_robust_distance_of_the_mean_nll_of_the_response(make_pool, tmp_path):
    for part, rows in enumerate([[[NAN, 1, 3], [NAN, 1]], [[NAN, 4, 2], [NAN, NAN]]]):
        column = pa.array(rows, pa.list_(pa.float32()), from_pandas=False)
        write_part(tmp_path / "scored" / part_name(part), pa.table({"pool_nll": column}))
    pool = make_pool([pair()] * 4, block=2, scored=tmp_path / "scored")
    unit = 1 / 1.4826  # means 2, 1, 3: median 2, median distance 1
    assert values("loss_tails", pool) == [0, -unit, -unit, NAN]


def test_loss_tails_without_scores_is_an_error_of_one_line(make_pool):
    with pytest.raises(CodeBlockError, match="loss_tails needs the reference's nll of the whole pool; score it first"):
        get_ranker("loss_tails").measure(make_pool([pair()]))


def test_near_duplicate_and_long_tail_are_distances_to_others(make_pool, tmp_path):
    vectors = np.array([[1, 0, 0], [1, 0, 0], [0.6, 0.8, 0], [0, 0, 1]], dtype=np.float16)
    table = pa.table([[f"id{n}" for n in range(4)], pa.array(list(vectors), EMBEDDED.field("embedding").type)], schema=EMBEDDED)
    write_part(tmp_path / "embedded" / part_name(0), table)
    pool = make_pool([pair()] * 4, block=4, given=tmp_path / "embedded")
    assert values("near_duplicate", pool) == [0, 0, 0.4, 1]
    d = np.array([(0 + 0.4 + 1) / 3, (0 + 0.4 + 1) / 3, (0.4 + 0.4 + 1) / 3, 1])
    assert values("long_tail", pool) == (2 / (1 + np.exp(-d)) - 1).tolist()


def test_without_a_model_the_distances_are_those_of_words(make_pool):
    crowd = [pair("Write a function that sorts a list of numbers", f"def sort_{n}(x): return sorted(x)") for n in range(9)]
    pool = make_pool([*crowd, crowd[0], pair("Draw the Mandelbrot set", "for row in grid: plot(row, escape(row))")])
    twins, rare = get_ranker("near_duplicate").measure(pool), get_ranker("long_tail").measure(pool)
    assert twins[[0, 9]].tolist() == pytest.approx([0, 0], abs=1e-3)
    assert rare.argmax() == 10


def test_random_depends_on_the_seed_and_on_the_pair_alone(make_pool, tmp_path):
    one = get_ranker("random").measure(make_pool([pair()] * 6))
    again = get_ranker("random").measure(make_pool([pair()] * 3))
    other = get_ranker("random").measure(make_pool([pair()] * 6, seed=1))
    assert len(set(one.tolist())) == 6
    assert ((one >= 0) & (one <= 1)).all()
    assert one[:3].tolist() == again[:3].tolist()
    assert not set(one.tolist()) & set(other.tolist())
