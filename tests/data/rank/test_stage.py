"""The stage: what it writes, that the borders of parts do not matter, and what it warns of."""

import pytest
from tests.data.rank.conftest import WALLS, pair, write_prepared

from codeblock.core.config import ClusterConfig, RankConfig, ScoreConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.ref import ModelRef
from codeblock.core.schema import RANKED
from codeblock.core.storage.tables import parts, read_table
from codeblock.data.rank.driver import embed_pairs, needs_model, needs_scores
from codeblock.data.rank.stage import rank_pairs, warnings_of

PYTHON = "```python\ndef area(r):\n    return r * r\n```"
ROWS = [
    pair("Write a function `area`.", PYTHON, 1.0, 7),
    pair("Write a function `area`, please.", PYTHON + "\nEnjoy.", 0.2, 9),
    pair("Write a function `volume`.", PYTHON, 1.0, 5),
    pair("Write it.", "No.", None, 2),
    pair("Print a list.", "```python\nprint([1, 2])\n```", 0.6, 4),
]


def ranked(tmp_path, rows, config, block=3, seed=0, **more):
    prepared = write_prepared(tmp_path / f"prepared{block}", rows, block)
    output = tmp_path / f"ranked{block}"
    facts = rank_pairs(prepared, output, config, seed, sandbox=WALLS, **more)
    return read_table(output), facts


def test_the_best_has_rank_0_and_the_signals_lie_beside_it(tmp_path):
    table, facts = ranked(tmp_path, ROWS, RankConfig(by=["quality", "answers", "length"]))
    assert table.schema == RANKED
    assert table["id"].to_pylist() == ["id0", "id1", "id2", "id3", "id4"]
    assert table["tokens"].to_pylist() == [7, 9, 5, 2, 4]
    # Bins of quality are 5, 1, 5, 5 (unknown), 3; of answers 5, 5, 0 (no volume), 5 (nothing asked), 5; lengths 7, 9, 5, 2, 4.
    assert table["rank"].to_pylist() == [0, 4, 2, 1, 3]
    assert table["signals"].to_pylist()[2] == [1, 0, 0]
    assert str(table["signals"].to_pylist()[3][:2]) == "[nan, nan]"
    assert {key: facts[key] for key in ("pool_pairs", "pool_tokens", "by", "combine")} == {
        "pool_pairs": 5,
        "pool_tokens": 27,
        "by": ["quality", "answers", "length"],
        "combine": "lexicographic",
    }
    assert facts["known"] == {"quality": 0.8, "answers": 0.6, "length": 1.0}
    assert list(facts["seconds"]) == ["quality", "answers", "length"]
    assert facts["warnings"] == []


def test_the_borders_of_parts_do_not_matter(tmp_path):
    config = RankConfig(by=["parses", "answers", "long_tail"])
    one, _ = ranked(tmp_path, ROWS * 3, config, block=2)
    other, _ = ranked(tmp_path, ROWS * 3, config, block=15)
    assert str(one.to_pylist()) == str(other.to_pylist())  # NaN is not equal to itself
    assert sorted(one["rank"].to_pylist()) == list(range(15))
    assert [path.name for path in parts(tmp_path / "ranked2")] == [path.name for path in parts(tmp_path / "prepared2")]
    assert not (tmp_path / "ranked2" / "work").exists()


def test_the_same_seed_gives_the_same_ranking_and_another_one_another(tmp_path):
    rows = [pair(quality=1.0) for _ in range(30)]
    config = RankConfig(by=["quality"])
    one, again, other = (ranked(tmp_path, rows, config, seed=seed)[0]["rank"].to_pylist() for seed in (0, 0, 1))
    assert one == again != other


def test_the_mean_lets_a_ranker_make_up_for_another(tmp_path):
    """Places by quality are 5/6, 3/6, 1/6, by length 1/6, 5/6, 3/6."""
    rows = [pair(quality=1.0, tokens=900), pair(quality=0.9, tokens=11), pair(quality=0.2, tokens=10)]
    lexicographic, _ = ranked(tmp_path, rows, RankConfig(by=["quality", "length"]))
    mean, _ = ranked(tmp_path, rows, RankConfig(by=["quality", "length"], combine="mean"))
    assert lexicographic["rank"].to_pylist() == [0, 1, 2]
    assert mean["rank"].to_pylist() == [1, 0, 2]


def test_where_no_ranker_knows_anything_it_says_so_and_what_can_be_had(tmp_path):
    _, facts = ranked(tmp_path, [pair() for _ in range(4)], RankConfig(by=["quality"]))
    assert facts["warnings"] == [
        "NO PAIR HAS A VALUE of quality: which pairs are kept is a lottery; add to rank.by what needs nothing but the pairs: "
        "answers, length, long_tail, near_duplicate, parses, runs_examples"
    ]


def test_where_one_of_several_knows_nothing_it_says_which_others_rank():
    assert warnings_of({"quality": 0.0, "parses": 0.9, "long_tail": 1.0}) == [
        "no pair has a value of quality: ranked by parses, long_tail alone; add to rank.by what needs nothing but the pairs: "
        "answers, length, near_duplicate, runs_examples"
    ]
    assert warnings_of({"quality": 0.0, "random": 1.0})[0].startswith("NO PAIR HAS A VALUE of quality")
    assert warnings_of({"quality": 0.01}) == []
    assert warnings_of({"random": 1.0}) == []


def test_a_ranker_that_lacks_what_it_needs_is_an_error_of_one_line(tmp_path):
    for config, message in [
        (RankConfig(by=["qualty"]), "ranker 'qualty' is not known; did you mean quality"),
        (RankConfig(by=["long_tail"], embedding="model"), "no embeddings were made; use words"),
        (RankConfig(by=["loss_tails"]), "loss_tails needs the reference's nll"),
    ]:
        with pytest.raises(CodeBlockError, match=message) as caught:
            ranked(tmp_path, ROWS, config)
        assert "\n" not in str(caught.value)


def test_rankers_come_once_each():
    for by in ([], ["quality", "quality"]):
        with pytest.raises(ValueError, match="name at least one ranker, and none twice"):
            RankConfig(by=by)


@pytest.mark.parametrize("embedding", ["layers", "model"])
def test_a_model_embeds_over_ray(tmp_path, ray_cluster, small_model, embedding):
    prepared = write_prepared(tmp_path / "prepared", [pair(tokens=tokens) for tokens in (3, 3, 9, 4, 5)], 3)
    config, output = RankConfig(by=["near_duplicate"], embedding=embedding), tmp_path / "embedded"
    facts = embed_pairs(prepared, output, ModelRef(str(small_model)), config, ScoreConfig(), ClusterConfig())
    assert facts["kept"] == 5
    rank_pairs(prepared, tmp_path / "ranked", config, 0, embedded=output)
    distances = [row[0] for row in read_table(tmp_path / "ranked")["signals"].to_pylist()]
    assert distances[:2] == pytest.approx([0, 0], abs=2e-3)
    # All prompts here are the same two tokens; the responses are not.
    assert (max(distances) > 0.01) == (embedding == "model")


def test_what_has_to_be_made_before_a_ranking():
    assert [needs_model(RankConfig(embedding=name)) for name in ("words", "layers", "model")] == [False, True, True]
    assert not needs_model(RankConfig(by=["quality", "parses"], embedding="model"))
    assert not needs_scores(RankConfig())
    assert needs_scores(RankConfig(by=["quality", "loss_tails"]))
