"""The stages `tokenized` and `segmented`: plain functions from pairs to tokens, and from these to items and data flow."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codeblock.annotate.prepare.align import Spans, align
from codeblock.annotate.prepare.conversation import Conversation
from codeblock.annotate.prepare.crash_guard import SegmentAll, SegmentJob, SegmentOutcome, plainly
from codeblock.annotate.prepare.render import RenderedPair, Renderer
from codeblock.core.config import PrepareConfig
from codeblock.core.errors import RowError
from codeblock.core.schema import REJECTED, SEGMENTED, TOKENIZED, Reason
from codeblock.segmentation import Segmentation, segment_response


def prepare_batch(
    pairs: pa.Table, renderer: Renderer, config: PrepareConfig, max_length: int, segment_all: SegmentAll = plainly
) -> tuple[pa.Table, pa.Table]:
    """Tokenize and segment a table of pairs (schema PAIRS) with ids that differ.

    Returns the prepared rows (schema SEGMENTED) and the rows that were taken out (schema REJECTED), in the order of the pairs.
    """
    tokenized, unread = tokenize_batch(pairs, renderer, max_length)
    segmented, unparsed = segment_batch(tokenized, config, segment_all)
    place = {id_: row for row, id_ in enumerate(pairs["id"].to_pylist())}
    rejected = pa.concat_tables([unread, unparsed])
    order = sorted(range(rejected.num_rows), key=lambda row: place[rejected["id"][row].as_py()])
    return segmented, rejected.take(pa.array(order, pa.int64()))


def tokenize_batch(pairs: pa.Table, renderer: Renderer, max_length: int) -> tuple[pa.Table, pa.Table]:
    """Render a table of pairs (schema PAIRS) with the chat template.

    Returns the rows that fit (schema TOKENIZED) in the order of the pairs, and those that were taken out (schema REJECTED).
    """
    responses: list[str] = pairs["response"].to_pylist()
    rendered = render_pairs(renderer, pairs["messages"].to_pylist(), responses, pairs["tools"].to_pylist())
    kept: list[int] = []
    made: list[RenderedPair] = []
    lost: list[tuple[int, Reason, str]] = []
    for row, tokens in enumerate(rendered):
        if isinstance(tokens, RowError):
            lost.append((row, tokens.reason, tokens.detail))
        elif tokens.input_ids.size > max_length:
            detail = f"{tokens.input_ids.size} tokens, the context has {max_length}"
            lost.append((row, Reason.LONGER_THAN_CONTEXT, detail))
        else:
            kept.append(row)
            made.append(tokens)
    columns: dict[str, list[Any]] = {
        "input_ids": [tokens.input_ids for tokens in made],
        "response_start": [tokens.response_start for tokens in made],
        "token_start": [tokens.starts for tokens in made],
        "token_end": [tokens.ends for tokens in made],
    }
    table = _table(pairs.take(pa.array(kept, pa.int64())), columns, TOKENIZED)
    return table, _rejected_table(pairs, lost, "tokenized")


def segment_batch(tokenized: pa.Table, config: PrepareConfig, segment_all: SegmentAll = plainly) -> tuple[pa.Table, pa.Table]:
    """Segment the responses of tokenized pairs (schema TOKENIZED) and align them with the tokens.

    Returns the rows with code (schema SEGMENTED) in the order of the pairs, and those that were taken out (schema REJECTED).
    """
    with _without_cycle_search():
        return _segment_batch(tokenized, config, segment_all)


@contextmanager
def _without_cycle_search() -> Iterator[None]:
    # A batch makes hundreds of thousands of short-lived tuples and no cycles; looking for some took a tenth of the time.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _segment_batch(tokenized: pa.Table, config: PrepareConfig, segment_all: SegmentAll) -> tuple[pa.Table, pa.Table]:
    responses: list[str] = tokenized["response"].to_pylist()
    rendered = _rendered(tokenized)
    jobs = [
        SegmentJob(response, tokens.starts[tokens.response_start : -1])
        for response, tokens in zip(responses, rendered, strict=True)
    ]
    kept: list[int] = []
    found: list[Segmentation] = []
    lost: list[tuple[int, Reason, str]] = []
    for row, outcome in enumerate(segment_all(partial(_segment, config), jobs)):
        if isinstance(outcome, Segmentation):
            kept.append(row)
            found.append(outcome)
        else:
            lost.append((row, *outcome))
    columns = _columns([rendered[row] for row in kept], [responses[row] for row in kept], found)
    pairs = tokenized.take(pa.array(kept, pa.int64())).drop_columns(["token_start", "token_end"])
    return _table(pairs, columns, SEGMENTED), _rejected_table(tokenized, lost, "segmented")


def _rendered(tokenized: pa.Table) -> list[RenderedPair]:
    """What `tokenize_batch` was given by the renderer."""
    arrays = [tokenized[name].to_numpy(zero_copy_only=False) for name in ("input_ids", "token_start", "token_end")]
    rows = zip(*arrays, tokenized["response_start"].to_pylist(), strict=True)
    return [RenderedPair(ids, starts, ends, start) for ids, starts, ends, start in rows]


def render_pairs(
    renderer: Renderer, messages: Sequence[Sequence[Any]], responses: Sequence[str], tools: Sequence[str | None]
) -> list[RenderedPair | RowError]:
    """Render columns of schema PAIRS; a RowError in the place of each pair that the template refuses or does not read whole."""
    read = [renderer.read(turns, known) for turns, known in zip(messages, tools, strict=True)]
    good = [(chat, response) for chat, response in zip(read, responses, strict=True) if isinstance(chat, Conversation)]
    chats, answers = [chat.messages for chat, _ in good], [response for _, response in good]
    rendered = iter(renderer(chats, answers, [chat.tools for chat, _ in good]))
    return [next(rendered) if isinstance(chat, Conversation) else chat for chat in read]


def _segment(config: PrepareConfig, job: SegmentJob) -> SegmentOutcome:
    try:
        found = segment_response(
            job.response,
            max_item_tokens=config.max_item_tokens,
            token_starts=job.token_starts,
            mutation_defines=config.mutation_defines,
        )
    except Exception as error:  # what a grammar or its rules do on one text must not end the run
        return Reason.SEGMENTATION_ERROR, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    if config.require_code and not found.regions:
        return Reason.NO_CODE, "no fenced block, and the text does not look like code"
    if config.require_syntax and found.has_error:
        return Reason.SYNTAX_ERROR, f"its code does not parse ({found.error})"
    return found


def _columns(rendered: list[RenderedPair], responses: list[str], found: list[Segmentation]) -> dict[str, list[Any]]:
    spans = [
        Spans([item.spans for item in each.items], [(region.start, region.end) for region in each.regions], each.core)
        for each in found
    ]
    aligned = align(rendered, responses, spans)
    return {
        "token_class": [columns.token_class for columns in aligned],
        "token_item": [columns.token_item for columns in aligned],
        "token_word": [columns.token_word for columns in aligned],
        "item_kind": [[item.kind for item in each.items] for each in found],
        "item_spans": [[[edge for span in item.spans for edge in span] for item in each.items] for each in found],
        "item_reach": [each.reach for each in found],
        "item_bridge": [each.bridge for each in found],
        "edges": [np.array(each.edges, dtype=np.int32).ravel() for each in found],
        "language": [each.language for each in found],
        "language_from": [each.decided for each in found],
    }


def _table(pairs: pa.Table, columns: dict[str, list[Any]], schema: pa.Schema) -> pa.Table:
    """The columns that pairs have, and behind them those that were made."""
    arrays = [pairs[name].combine_chunks() for name in pairs.column_names]
    for field in list(schema)[len(arrays) :]:
        values = columns[field.name]
        numeric = pa.types.is_list(field.type) and pa.types.is_primitive(field.type.value_type)
        arrays.append(list_array(values, field.type) if numeric else pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def list_array(values: Sequence[NDArray[Any]], type_: pa.ListType) -> pa.ListArray:
    """A list column out of one NumPy array a row, without a Python object per element."""
    offsets = np.concatenate([[0], np.cumsum([value.size for value in values])]).astype(np.int32)
    flat = np.concatenate(values) if values else np.empty(0)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat.astype(type_.value_type.to_pandas_dtype())), type=type_)


def _rejected_table(pairs: pa.Table, lost: list[tuple[int, Reason, str]], stage: str) -> pa.Table:
    ids, sources = pairs["id"], pairs["source"]
    rows = [
        {
            "id": ids[row].as_py(),
            "source": sources[row].as_py(),
            "stage": stage,
            "reason": reason,
            "detail": detail,
        }
        for row, reason, detail in lost
    ]
    return pa.Table.from_pylist(rows, schema=REJECTED)
