"""Scores are kept by id: right for each order of the pairs, and only what is lacking is added."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from codeblock.annotate.score.driver import missing
from codeblock.core.errors import CodeBlockError
from codeblock.core.storage.scores import Covered, places, values_of, with_scores
from codeblock.core.storage.tables import part_name, parts, write_part
from codeblock.experiment.cache import Step


def put(directory, number, ids):
    """A part of scores: of the pair "3" the values 3.0, 3.5."""
    values = [[float(id_), float(id_) + 0.5] for id_ in ids]
    write_part(directory / part_name(number), pa.table({"id": list(ids), "nll": pa.array(values, pa.list_(pa.float32()))}))


def kept(directory, *of_parts):
    for number, ids in enumerate(of_parts):
        write_part(directory / part_name(number), pa.table({"id": list(ids), "quality": [1.0] * len(ids)}))
    return directory


def test_values_come_in_the_order_of_the_pairs_whatever_part_they_are_in(tmp_path):
    put(tmp_path, 0, "04")
    put(tmp_path, 1, "12")
    put(tmp_path, 2, "3")
    rng = np.random.default_rng(0)
    for size in (0, 1, 3, 5):
        ids = rng.permutation(list("01234"))[:size].tolist()
        table = with_scores(pa.table({"id": pa.array(ids, pa.string())}), {"nll": tmp_path})
        assert table["nll"].to_pylist() == [[float(id_), float(id_) + 0.5] for id_ in ids]


def test_places_are_those_of_a_dictionary_and_the_last_of_two_counts(tmp_path):
    rng = np.random.default_rng(0)
    naive = {}
    for number in range(4):
        ids = [str(each) for each in rng.integers(0, 60, 20)]
        put(tmp_path, number, ids)
        naive |= {id_: (tmp_path / part_name(number), row) for row, id_ in enumerate(ids)}
    found = places(tmp_path)
    assert dict(found.items()) == naive
    assert (len(found), set(found)) == (len(naive), set(naive))
    assert [found.get(str(each)) for each in range(80)] == [naive.get(str(each)) for each in range(80)]
    assert (found.find([str(each) for each in range(80)]) >= 0).tolist() == [str(each) in naive for each in range(80)]


def test_a_pair_without_scores_is_an_error_of_one_line(tmp_path):
    put(tmp_path, 0, "04")
    with pytest.raises(CodeBlockError, match="pair 7 has no scores there; run the same command again"):
        values_of(["0", "7"], tmp_path, "nll")


def test_only_pairs_that_lack_scores_are_scored_and_get_parts_of_their_own(tmp_path):
    pairs, scores = kept(tmp_path / "kept", "0123", "4567", "89"), tmp_path / "scores"
    assert [(item.rows, item.becomes) for item in missing(pairs, scores, 10)] == [
        ([0, 1, 2, 3], part_name(0)),
        ([0, 1, 2, 3], part_name(1)),
        ([0, 1], part_name(2)),
    ]
    assert len(missing(pairs, scores, 5)) == 2
    put(scores, 0, "0123")
    put(scores, 3, "59")  # of a run that was cut off while it wrote others
    found = [(item.path, item.rows, item.becomes) for item in missing(pairs, scores, 10)]
    _, second, third = parts(pairs)
    assert found == [(second, [0, 2, 3], part_name(4)), (third, [0], part_name(5))]


def test_whether_all_that_is_wanted_is_there(tmp_path):
    put(tmp_path, 0, "012")
    assert Covered(lambda: pa.array(["2", "0"]))(tmp_path)
    assert not Covered(lambda: pa.array(["2", "3"]))(tmp_path)
    assert not Covered(lambda: None)(tmp_path), "it is not known yet which they are"
    assert places(tmp_path).keys() == {"0", "1", "2"}
    put(tmp_path, 1, "3")
    assert Covered(lambda: pa.array(["2", "3"]))(tmp_path)


def scored_by(home, name, asked):
    """Runs the step of a model's scores for some pairs; which ids it scored."""
    pairs, found = kept(home / name, asked), []

    def work(output):
        for item in missing(pairs, output, np.inf):
            ids = [asked[row] for row in item.rows]
            found.extend(ids)
            put(output, int(item.becomes[5:11]), ids)
        return {"kept": len(places(output))}

    Step("scored", "score", {"model": "m"}, home, covers=Covered(lambda: pa.array(list(asked)))).run(work, resume=True)
    return found


def test_runs_that_rank_otherwise_add_to_the_same_scores_what_they_lack(tmp_path):
    assert scored_by(tmp_path, "one", "0123") == list("0123")
    assert scored_by(tmp_path, "two", "2345") == list("45")
    assert scored_by(tmp_path, "again", "0145") == []
    with ThreadPoolExecutor(4) as pool:  # at one time: each waits for the other and takes what it has made
        asked = ["6789", "5678", "4567", "0967"]
        done = list(pool.map(lambda each: scored_by(tmp_path, f"at once {each}", each), asked))
    assert sorted(id_ for each in done for id_ in each) == list("6789")
    (directory,) = tmp_path.glob("scored-*")
    for asked in ("0123", "9876"):
        assert values_of(list(asked), directory, "nll").to_pylist() == [[float(id_), float(id_) + 0.5] for id_ in asked]
