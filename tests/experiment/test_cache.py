"""A stage's output is valid only when it was finished, and is named by what decides it."""

import json

import pyarrow as pa
import pytest

from codeblock.core.config import Config
from codeblock.core.errors import CodeBlockError
from codeblock.core.storage.tables import MARKER, write_part
from codeblock.experiment.cache import Product, Step, check_storage, probe_storage


def step(cache, **identity):
    return Step("selected", "select[x]", identity, cache)


def test_work_is_done_once(tmp_path):
    calls = []
    for _ in range(2):
        facts = step(tmp_path, budget=0.1).run(lambda output: calls.append(output) or {"kept": 3})
        assert facts["kept"] == 3
    assert len(calls) == 1


def test_facts_are_read_back_in_the_order_in_which_they_were_found(tmp_path):
    for _ in range(2):
        facts = step(tmp_path, budget=0.1).run(lambda _: {"spread": {"p0": 1, "p25": 2, "p100": 3}})
        assert list(facts["spread"]) == ["p0", "p25", "p100"]


def test_an_interrupted_step_is_not_valid_and_starts_over(tmp_path):
    def interrupted(output):
        (output / "part-000000.parquet").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        step(tmp_path, budget=0.1).run(interrupted)
    assert step(tmp_path, budget=0.1).facts is None
    step(tmp_path, budget=0.1).run(lambda output: {"left": len(list(output.iterdir()))})
    assert step(tmp_path, budget=0.1).facts["left"] == 0


def test_a_resumable_step_finds_what_it_had_finished(tmp_path):
    def interrupted(output):
        write_part(output / "part-000000.parquet", pa.table({"id": ["a"]}))
        (output / "part-000001.parquet").write_text("cut by a crash of the machine")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        step(tmp_path, budget=0.1).run(interrupted, resume=True)
    assert step(tmp_path, budget=0.1).why() == "partly done"
    facts = step(tmp_path, budget=0.1).run(lambda output: {"left": [path.name for path in output.iterdir()]}, resume=True)
    assert facts["left"] == ["part-000000.parquet"]


def test_the_reason_names_the_key_that_differs(tmp_path):
    assert step(tmp_path, budget=0.1).why() == "no result yet"
    step(tmp_path, budget=0.1, scope="dataset").run(lambda _: {})
    assert step(tmp_path, budget=0.2, scope="dataset").why() == "differs in budget (0.1 -> 0.2)"


def test_results_that_certain_keys_alone_set_apart_are_found(tmp_path):
    for limit, scope in ((None, "dataset"), (8, "dataset"), (8, "other")):
        step(tmp_path, limit=limit, scope=scope).run(lambda _: {})
    found = step(tmp_path, limit=2, scope="dataset").finished_but_for(["limit"])
    assert found == [step(tmp_path, limit=limit, scope="dataset").directory for limit in (8, None)]
    assert step(tmp_path, limit=2, scope="dataset").finished_but_for([]) == []


def test_execution_fields_do_not_name_a_stage():
    one, two = Config(), Config.model_validate({"train": {"micro_batch_tokens": 1}, "cluster": {"actors": 7}})
    assert one.train.identity() == two.train.identity()
    assert one.score.identity() == two.score.identity()
    assert "learning_rate" in one.train.identity()


def test_a_storage_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CodeBlockError, match="cannot be written"):
        check_storage(tmp_path / "file")
    with pytest.raises(CodeBlockError, match=r"cannot be written \(Not a directory\)"):
        probe_storage(tmp_path / "file")


def test_a_plan_leaves_nothing_in_a_storage(tmp_path):
    probe_storage(tmp_path / "rnus" / "mine")
    assert list(tmp_path.iterdir()) == []
    cache = check_storage(tmp_path)
    probe_storage(tmp_path)
    assert list(tmp_path.iterdir()) == [cache]
    assert list(cache.iterdir()) == []


def test_the_marker_is_written_last(tmp_path):
    def work(output):
        assert not (output / MARKER).exists()
        return {}

    step(tmp_path).run(work)
    assert (step(tmp_path).directory / MARKER).exists()


def test_a_step_that_does_not_reach_far_enough_goes_on_from_what_is_there(tmp_path):
    def needing(rows):
        return Step("kept", "keep", {"ranked": "x"}, tmp_path, lambda: rows)

    def work(output):
        (output / f"part{len(list(output.glob('part*')))}").write_text("")
        return {"kept": 100 * len(list(output.glob("part*")))}

    assert needing(100).run(work) == needing(50).run(work)
    assert needing(101).facts is None
    assert needing(101).why() == "more of the ranked pairs are needed"
    marker = json.loads((needing(0).directory / MARKER).read_text())
    marker["facts"]["wall_seconds"] = 1000.0
    (needing(0).directory / MARKER).write_text(json.dumps(marker))
    facts = needing(101).run(work, resume=True)
    assert facts["kept"] == 200
    assert facts["wall_seconds"] >= 1000.0, "what the rows that were there have cost counts too"
    assert needing(150).facts == facts


def write(output, *texts):
    for number, text in enumerate(texts):
        (output / f"part-{number}").write_text(text)
    return {}


def chain(cache, option, after="b"):
    """Three steps, each of which reads the one before."""
    first = Step("pairs", "pairs", {"option": option}, cache)
    second = Step("prepared", "prepare", {"pairs": Product(first), "after": after}, cache)
    return first, second, Step("scored", "score", {"prepared": Product(second)}, cache)


def test_a_change_that_alters_no_row_runs_that_step_again_and_none_behind_it(tmp_path):
    for step, text in zip(chain(tmp_path, 1), ("a", "b", "c"), strict=True):
        step.run(lambda output, text=text: write(output, text))
    first, second, third = chain(tmp_path, 2)
    assert (first.facts, first.waits_for, second.waits_for, third.waits_for) == (None, None, first, first)
    assert second.facts is third.facts is None
    first.run(lambda output: write(output, "a"))
    assert second.facts is not None
    assert third.facts is not None
    assert third.key == chain(tmp_path, 1)[2].key
    other = chain(tmp_path, 3)
    other[0].run(lambda output: write(output, "another row"))
    assert other[1].facts is None
    assert other[1].why().startswith("differs in pairs (")


def test_what_is_written_beside_the_rows_decides_nothing_behind(tmp_path):
    def rejecting(option, *rejected):
        first = chain(tmp_path, option)[0]
        first.run(lambda output: (output / "rejected").mkdir() or write(output / "rejected", *rejected) or write(output, "a"))
        return chain(tmp_path, option)[1].key

    assert rejecting(1) == rejecting(2, "x")


def test_how_a_step_is_asked_for_is_known_before_and_the_same_afterwards(tmp_path):
    first, second, _ = chain(tmp_path, 1)
    asked = second.asked
    assert second.key == asked, "a name under which nothing is found"
    first.run(lambda output: write(output, "a"))
    assert chain(tmp_path, 1)[1].asked == asked != chain(tmp_path, 1)[1].key
    assert chain(tmp_path, 2)[1].asked != asked


def test_a_result_that_grows_names_what_follows_before_it_is_there_and_whatever_its_size(tmp_path):
    def following(rows):
        kept = Step("kept", "keep", {"ranked": "x"}, tmp_path, lambda: rows)
        return kept, Step("selected", "select", {"kept": Product(kept)}, tmp_path)

    key = following(1)[1].key
    assert following(1)[1].waits_for is None
    for rows in (1, 2):
        following(rows)[0].run(lambda output, rows=rows: write(output, *["a"] * rows) or {"kept": rows}, resume=True)
        assert following(rows)[1].key == key
