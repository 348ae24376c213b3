"""Scoring against a plain loop that pads batches in file order and takes full logits; same nll, ratio in one run.

    python tests/bench/bench_score.py --model DIRECTORY --pairs PATH [--rows 2000] [--batch 16] [--dtype float32]

Without --pairs the lengths are drawn from a long-tailed distribution. Runs on a GPU where there is one.
"""

from __future__ import annotations

import argparse
import platform
import time
from typing import Any

import numpy as np
import torch

from codeblock.core.models.load import device, load_model, load_tokenizer
from codeblock.core.models.nll import response_nll


def main() -> None:
    """Measure both ways in turn, three times, and print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--pairs")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=16, help="pairs in a batch of the plain loop")
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    model = load_model(arguments.model, dtype=arguments.dtype).to(device())
    ids, starts = real_rows(arguments) if arguments.pairs else synthetic_rows(arguments.rows, model.config.vocab_size)
    tokens = sum(row.size for row in ids)
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    plain = ours = None
    for _ in range(3):
        plain, seconds = measure(lambda: plain_loop(model, ids, starts, arguments.batch))
        times["plain"].append(seconds)
        ours, seconds = measure(lambda: response_nll(model, ids, starts, arguments.batch_tokens))
        times["ours"].append(seconds)
    assert plain is not None
    assert ours is not None
    apart = max(float(np.nanmax(np.abs(a - b))) for a, b in zip(plain, ours, strict=True))
    slow, fast = (float(np.median(times[way])) for way in ("plain", "ours"))
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    print(f"{name}, {arguments.dtype}, {torch.get_num_threads()} threads; {len(ids)} pairs, {tokens} tokens")
    print(f"plain {tokens / slow:,.0f} tokens/s, ours {tokens / fast:,.0f} tokens/s: {slow / fast:.2f}x")
    print(f"largest difference of a token's nll: {apart:.2e}")


def measure(work: Any) -> tuple[Any, float]:
    """A result and its wall time in seconds."""
    started = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - started


@torch.inference_mode()
def plain_loop(model: Any, ids: list[Any], starts: list[int], batch: int) -> list[Any]:
    """What a first version would do: file order, padded batches, logits everywhere."""
    results = []
    for first in range(0, len(ids), batch):
        rows = ids[first : first + batch]
        width = max(row.size for row in rows)
        ids_BT = torch.zeros(len(rows), width, dtype=torch.long)
        mask_BT = torch.zeros_like(ids_BT)
        for index, row in enumerate(rows):
            ids_BT[index, : row.size] = torch.from_numpy(row.astype(np.int64))
            mask_BT[index, : row.size] = 1
        ids_BT, mask_BT = ids_BT.to(model.device), mask_BT.to(model.device)
        logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits.float()
        nll_BT = torch.nn.functional.cross_entropy(
            logits_BTV[:, :-1].flatten(0, 1), ids_BT[:, 1:].flatten(), reduction="none"
        ).view(len(rows), -1)
        for index, row in enumerate(rows):
            nll = np.full(row.size, np.nan, dtype=np.float32)
            start = max(starts[first + index], 1)
            nll[start:] = nll_BT[index, start - 1 : row.size - 1].float().cpu().numpy()
            results.append(nll)
    return results


def real_rows(arguments: argparse.Namespace) -> tuple[list[Any], list[int]]:
    """Rendered pairs of a file, in file order."""
    from codeblock.annotate.prepare.render import RenderedPair, Renderer
    from codeblock.core.errors import RowError
    from codeblock.data.read.files import find_files
    from codeblock.data.read.read import SourceRow, read_rows
    from codeblock.data.read.shapes import to_pair

    pairs = []
    for row in (row for file in find_files(arguments.pairs) for row in read_rows(file)):
        if isinstance(row, SourceRow) and len(pairs) < arguments.rows:
            try:
                pairs.append(to_pair(row.value, {}))
            except RowError:
                continue
    renderer = Renderer(load_tokenizer(arguments.model))
    rendered = renderer([pair.messages for pair in pairs], [pair.response for pair in pairs])
    good = [row for row in rendered if isinstance(row, RenderedPair) and row.input_ids.size <= 1024]
    return [row.input_ids for row in good], [row.response_start for row in good]


def synthetic_rows(count: int, vocabulary: int) -> tuple[list[Any], list[int]]:
    """Random tokens; lengths log-normal with a median of 300, a third of each the prompt."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(300), 0.6, count), 16, 2048).astype(int)
    return [rng.integers(0, vocabulary, size).astype(np.int32) for size in lengths], [size // 3 for size in lengths]


if __name__ == "__main__":
    main()
