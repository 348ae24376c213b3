"""A grammar that crashes its process, or never returns, costs the row it does that on."""

from __future__ import annotations

import ctypes
import os
import re
import signal
from collections import Counter
from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from codeblock.annotate.prepare import driver
from codeblock.annotate.prepare.crash_guard import SegmentJob, apart, plainly, watched
from codeblock.annotate.prepare.render import Renderer
from codeblock.annotate.prepare.stage import tokenize_batch
from codeblock.core.config import PrepareConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.ref import ModelRef
from codeblock.core.schema import FILTERED, PAIRS, SEGMENTED, Reason
from codeblock.core.storage.tables import read_table, write_part
from codeblock.segmentation import segment_response, tree
from codeblock.segmentation.languages import find_rules

CRASHES, LOOPS = b"READ_NULL", b"LOOP_IN_C"
SECONDS = 1.0


class BadParser:
    """A grammar's parser; on two texts it does in C what a bad external scanner does."""

    def __init__(self, parser):
        self.parser = parser

    def parse(self, data):
        if CRASHES in data:
            ctypes.string_at(0)
        if LOOPS in data:
            re.match(rb"(a+)+$", b"a" * 60 + b"b")  # not done before the sun is cold
        return self.parser.parse(data)


def spoil_python():
    """Give the grammar of Python, in this process, such a parser."""
    grammar = tree.grammar_of(find_rules("python"))
    if not isinstance(grammar.parser, BadParser):
        grammar.parser = BadParser(grammar.parser)


REAL_PART = driver._segment_part


def part_with_a_bad_grammar(rows, part, **settings):
    """What a Ray worker runs: the real work, with the bad grammar in its process."""
    spoil_python()
    return REAL_PART(rows, part, **settings)


def pairs_of(responses):
    rows = [
        {"id": f"pair{n}", "messages": [{"role": "user", "content": "Set it."}], "response": text, "source": f"row {n}"}
        for n, text in enumerate(responses)
    ]
    return pa.Table.from_pylist([{**row, "quality": None} for row in rows], schema=PAIRS)


@pytest.mark.slow  # a Ray worker starts anew after each death
@pytest.mark.usefixtures("ray_cluster")
def test_a_crash_and_an_endless_loop_in_a_grammar_cost_their_rows_and_not_the_run(tmp_path, small_model, monkeypatch):
    monkeypatch.setattr(driver, "_segment_part", part_with_a_bad_grammar)
    odd = {3: LOOPS.decode(), 4: CRASHES.decode(), 9: CRASHES.decode(), 10: "x = ="}
    responses = [f"```python\nx = {n}\nprint(x)\n{odd.get(n, '')}\n```" for n in range(18)]
    for part in range(3):
        write_part(tmp_path / "pairs" / f"part-{part:06d}.parquet", pairs_of(responses).slice(6 * part, 6))

    output, tokenized = tmp_path / "segmented", tmp_path / "tokenized"
    read = driver.tokenize(tmp_path / "pairs", tokenized, ModelRef(str(small_model)), max_length=256)
    assert (read["read"], read["kept"], read["reasons"]) == (18, 18, {})
    facts = driver.segment(tokenized, output, PrepareConfig(max_row_seconds=SECONDS))
    rejected = read_table(output / "rejected").to_pylist()
    assert [(row["source"], row["reason"]) for row in rejected] == [
        ("row 3", "segmentation_timeout"),
        ("row 4", "segmentation_crash"),
        ("row 9", "segmentation_crash"),
        ("row 10", "syntax_error"),
    ]
    assert rejected[1]["detail"] == "its process ended with SIGSEGV"
    assert rejected[0]["detail"] == "not done after 1 CPU seconds (prepare.max_row_seconds)"
    kept = read_table(output)
    assert kept["source"].to_pylist() == [f"row {n}" for n in range(18) if n not in odd]
    assert facts["reasons"] == dict(Counter(row["reason"] for row in rejected))
    assert facts["read"] == facts["kept"] + sum(facts["reasons"].values()) == 18
    assert not (output / driver.ATTEMPTS).exists()
    assert FILTERED.isdisjoint({Reason.SEGMENTATION_CRASH, Reason.SEGMENTATION_TIMEOUT})


def test_a_part_that_goes_on_ending_its_workers_ends_the_run(tmp_path, tokenizer):
    tokenized, _ = tokenize_batch(pairs_of(["```python\nx = 1\n```"]), Renderer(tokenizer), 256)
    mark = tmp_path / "out" / driver.ATTEMPTS / "part-000000.parquet"
    mark.parent.mkdir(parents=True)
    work = partial(driver._segment_part, tokenized, mark.name, tmp_path / "out", PrepareConfig())
    mark.write_bytes(b"." * (driver.MAX_DEATHS - 1))
    rows, _ = work()
    assert driver._write(rows, mark.name, {}, tmp_path / "out", SEGMENTED)["kept"] == 1
    assert not mark.exists()
    mark.write_bytes(b"." * driver.MAX_DEATHS)
    with pytest.raises(CodeBlockError, match=r"^part-000000.parquet: 5 workers ended while they had this part"):
        work()


def jobs_of(*responses):
    return [SegmentJob(response, np.arange(0, len(response), 3, dtype=np.int32)) for response in responses]


def segment(job):
    """Segments, or does what the response says."""
    if job.response == "null":
        ctypes.string_at(0)
    if job.response == "abort":
        os.abort()
    if job.response == "exit":
        os._exit(3)
    if job.response == "loop":
        while True:
            pass
    return segment_response(job.response, token_starts=job.token_starts)


def test_what_is_segmented_apart_is_what_is_segmented_here():
    jobs = jobs_of("```python\nx = 1\nprint(x)\n```", "words", "x = 1")
    for mine, theirs in zip(plainly(segment, jobs), apart(segment, jobs, 60.0), strict=True):
        assert (mine.items, mine.edges, mine.core, mine.regions) == (theirs.items, theirs.edges, theirs.core, theirs.regions)
        np.testing.assert_array_equal(mine.reach, theirs.reach)


def test_each_death_is_told_and_the_rows_around_it_are_kept():
    found = apart(segment, jobs_of("x = 1", "abort", "exit", "x = 2", "loop", "null"), 0.3)
    assert [outcome[0] if isinstance(outcome, tuple) else outcome.language for outcome in found] == [
        "python",
        Reason.SEGMENTATION_CRASH,
        Reason.SEGMENTATION_CRASH,
        "python",
        Reason.SEGMENTATION_TIMEOUT,
        Reason.SEGMENTATION_CRASH,
    ]
    endings = [outcome[1].removeprefix("its process ended with ") for outcome in found if isinstance(outcome, tuple)]
    assert endings == ["SIGABRT", "exit status 3", "not done after 0.3 CPU seconds (prepare.max_row_seconds)", "SIGSEGV"]


def test_the_limit_of_a_row_is_no_limit_of_all_rows_and_ends_with_them():
    def slow(job):
        deadline = os.times().user + 0.1
        while os.times().user < deadline:
            sum(range(10_000))  # asking for the time alone is a system call, whose time counts against the limit too
        return segment_response(job.response)

    assert len(watched(slow, jobs_of(*["x = 1"] * 4), 0.3)) == 4
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
