"""What each exact saving of sparse supervision is worth: one epoch of the same pairs, savings switched on in turn.

    python tests/bench/bench_train.py                                  # synthetic pairs, a model of 2M weights
    python tests/bench/bench_train.py --selected runs/cache/selected-A --pool runs/cache/selected-B
        # a selected table, and that of an arm `full` of the same run: a selection lacks the pairs with nothing supervised
    python tests/bench/bench_train.py --device cuda --dtype bfloat16 --family qwen2 --hidden 1536 --layers 28 \\
        --heads 12 --kv-heads 2 --inner 8960 --vocab 151936 --pairs 512 --batch-pairs 32

Needs torch and transformers, and no Ray. Times are of whole epochs (forward, backward, update): wall time on a GPU,
CPU time of this process on a CPU, which other work on the machine disturbs less. The numbers of the savings are
METHOD's; each row adds its saving to those of the rows above. Each row takes about 3 s of one core for 10,000 padded inputs.
With the stop token supervised, trimming saves nothing: the last token of each pair that is trained on has a loss.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from codeblock.train.batches import CPU_CALL, GPU_CALL, MicroBatch, collate, micro_batches, plan_steps
from codeblock.train.model import MaskedLM
from codeblock.train.rows import TokenPair, read_pairs, trim
from codeblock.train.step import DistContext, Update, make_optimizer, take_step

Cut = Callable[[Sequence[TokenPair]], list[MicroBatch]]


class FullLogits(MaskedLM):
    """The usual way: logits of every position in float32, then a mask."""

    def forward(self, batch: MicroBatch) -> torch.Tensor:
        with self._autocast(batch):
            logits_BTV = self.model(input_ids=batch.input_ids_BT, use_cache=False).logits
            labels_BT = torch.full_like(batch.input_ids_BT, -100).flatten()
            labels_BT[batch.index_N] = batch.targets_N
            nll_BT = nn.functional.cross_entropy(logits_BTV.flatten(0, 1).float(), labels_BT, reduction="none")
            return (nll_BT[batch.index_N] * batch.weights_N).sum()


@dataclass(frozen=True)
class Case:
    name: str
    pairs: Sequence[TokenPair]
    wrap: Callable[[Any], MaskedLM]
    cut: Cut


@dataclass(frozen=True)
class Result:
    name: str
    seconds: float
    pairs: int
    steps: int
    inputs: int
    padded: int
    peak_mb: float


def synthetic(count: int, share: float, vocab: int, seed: int = 0) -> list[TokenPair]:
    """Pairs like CodeAlpaca's (prompt about 50 tokens, response about 90, long-tailed).

    A `share` of them has supervised items, on about a fifth of the response: a budget of 1.9% where share is 0.1.
    """
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        prompt, response = (int(np.clip(rng.lognormal(mean, 0.7), 8, 600)) for mean in (3.7, 4.3))
        weight_T = np.zeros(prompt + response, np.float32)
        if rng.random() < share:
            size = max(1, response // 5)
            start = prompt + int(rng.integers(0, response - size + 1))
            weight_T[start : start + size] = 1
        class_T = np.where(np.arange(prompt + response) < prompt, 0, 2).astype(np.uint8)
        pairs.append(TokenPair(str(number), rng.integers(1, vocab, prompt + response).astype(np.int32), class_T, weight_T))
    return pairs


def full_arm(pairs: Sequence[TokenPair]) -> list[TokenPair]:
    """The same pairs with a loss on every response token."""
    return [replace(pair, weight_T=(pair.token_class_T > 0).astype(np.float32)) for pair in pairs]


def pool_with(selected: Sequence[TokenPair], pool: Sequence[TokenPair], count: int) -> list[TokenPair]:
    """Pairs drawn from the pool with the weights that were selected for them, 0 where there are none."""
    chosen = {pair.id: pair for pair in selected}
    drawn = np.random.default_rng(0).permutation(len(pool))[:count]
    without = [replace(pair, weight_T=np.zeros_like(pair.weight_T)) for pair in (pool[number] for number in drawn)]
    return [chosen.get(pair.id, pair) for pair in without]


def in_order(max_inputs: int) -> Cut:
    """Passes in the order of the pairs, padded to the longest."""

    def cut(pairs: Sequence[TokenPair]) -> list[MicroBatch]:
        passes: list[list[TokenPair]] = [[]]
        for pair in pairs:
            longest = max(other.inputs for other in [*passes[-1], pair])
            if passes[-1] and longest * (len(passes[-1]) + 1) > max_inputs:
                passes.append([])
            passes[-1].append(pair)
        return [collate([[pair] for pair in passed]) for passed in passes]

    return cut


def cases(pairs: Sequence[TokenPair], options: argparse.Namespace) -> list[Case]:
    most, on_gpu = options.micro_batch_tokens, options.device == "cuda"
    whole = list(pairs)
    kept = [pair for pair in whole if pair.supervised]
    trimmed = [trim(pair) for pair in kept]
    call = GPU_CALL if on_gpu else CPU_CALL

    def sparse(model: Any) -> MaskedLM:
        return MaskedLM(model, options.dtype, last_layer=False)

    def everything(model: Any) -> MaskedLM:
        return MaskedLM(model, options.dtype)

    def bucketed(pairs: Sequence[TokenPair]) -> list[MicroBatch]:
        return micro_batches(pairs, most, pack=False, call=call)

    def packed(pairs: Sequence[TokenPair]) -> list[MicroBatch]:
        return micro_batches(pairs, most, pack=True)

    rows = packed if on_gpu else bucketed
    full = [trim(pair) for pair in full_arm(whole)]
    return [
        Case("0 naive", whole, lambda model: FullLogits(model, options.dtype, last_layer=False), in_order(most)),
        Case("1 + logits at supervised positions", whole, sparse, in_order(most)),
        Case("3 + unsupervised pairs dropped", kept, sparse, in_order(most)),
        Case("2 + tails trimmed", trimmed, sparse, in_order(most)),
        Case(f"4 + rows {'packed' if on_gpu else 'bucketed'}", trimmed, sparse, rows),
        Case("5 + sparse last layer", trimmed, everything, rows),
        Case(f"5 with rows {'bucketed' if on_gpu else 'packed'}", trimmed, everything, bucketed if on_gpu else packed),
        Case("full arm, all savings", full, everything, rows),
        Case("full arm, dense last layer", full, sparse, rows),
    ]


def epoch(case: Case, build: Callable[[], Any], options: argparse.Namespace) -> Result:
    place = DistContext(torch.device(options.device))
    masked = case.wrap(build().to(place.device)).train()
    optimizer = make_optimizer(masked, 1e-5, 0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    update = Update(optimizer, scheduler, 1.0)
    plan = plan_steps(len(case.pairs), options.batch_pairs, seed=0, epochs=1)

    def step(number: int) -> list[MicroBatch]:
        pairs = [case.pairs[index] for index in plan[number]]
        batches = case.cut(pairs)
        weight = max(1.0, sum(pair.weight for pair in pairs))  # without dropping, a batch may have none
        take_step(masked, batches, weight, update, place, number)
        return batches

    step(0)
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    clock = time.perf_counter if options.device == "cuda" else time.process_time
    started = clock()
    done = [batch for number in range(len(plan)) for batch in step(number)]
    if options.device == "cuda":
        torch.cuda.synchronize()
    seconds = clock() - started
    peak = torch.cuda.max_memory_allocated() / 2**20 if options.device == "cuda" else float("nan")
    padded = sum(batch.input_ids_BT.numel() for batch in done)
    inputs = sum(batch.inputs for batch in done)
    return Result(case.name, seconds, len(case.pairs), len(plan), inputs, padded, peak)


def show(results: Sequence[Result]) -> None:
    print(f"{'one epoch':36} {'seconds':>8} {'of naive':>9} {'of above':>9} {'pairs':>7} {'inputs':>9} {'padded':>9} peak MB")
    for number, result in enumerate(results):
        above = result.seconds / results[number - 1].seconds if 0 < number < 6 else float("nan")
        print(
            f"{result.name:36} {result.seconds:8.2f} {result.seconds / results[0].seconds:9.3f} {above:9.3f} "
            f"{result.pairs:7d} {result.inputs:9d} {result.padded:9d} {result.peak_mb:7.0f}"
        )
    named = {result.name: result for result in results}
    ratio = named["5 + sparse last layer"].seconds / named["full arm, all savings"].seconds
    print(f"selected arm / full arm, same trainer, all savings in both: {ratio:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--selected", type=Path, help="directory of a selected table; empty: synthetic pairs")
    parser.add_argument("--pool", type=Path, help="directory of the selected table of an arm that trains on every pair")
    parser.add_argument("--pairs", type=int, default=320)
    parser.add_argument("--share", type=float, default=0.1, help="share of synthetic pairs with a supervised token")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-pairs", type=int, default=32)
    parser.add_argument("--micro-batch-tokens", type=int, default=8192)
    parser.add_argument("--family", default="llama", choices=["llama", "qwen2"])
    parser.add_argument("--repeats", type=int, default=1, help="epochs per case; the fastest counts")
    parser.add_argument("--json", type=Path, help="also write the results here")
    for name, default in (("hidden", 192), ("layers", 4), ("heads", 6), ("kv-heads", 6), ("inner", 512), ("vocab", 4096)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config, model = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}[options.family]
    sizes = config(
        vocab_size=options.vocab,
        hidden_size=options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.kv_heads,
        intermediate_size=options.inner,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    )

    def build() -> Any:
        torch.manual_seed(0)
        with torch.device(options.device):
            return model(sizes)

    if options.selected:
        selected = read_pairs(options.selected, "train")
        pool = read_pairs(options.pool, "train") if options.pool else selected
        pairs = pool_with(selected, pool, options.pairs)
    else:
        pairs = synthetic(options.pairs, options.share, options.vocab)
    weights = sum(parameter.numel() for parameter in build().parameters())
    supervised = sum(pair.supervised for pair in pairs) / max(1, sum(int((p.token_class_T > 0).sum()) for p in pairs))
    print(f"{weights / 1e6:.1f}M weights, {len(pairs)} pairs, {supervised:.2%} of response tokens supervised, {options.device}")
    results = []
    for case in cases(pairs, options):
        result = min((epoch(case, build, options) for _ in range(options.repeats)), key=lambda result: result.seconds)
        results.append(result)
        print(f"  {result.name}: {result.seconds:.2f} s", flush=True)
    show(results)
    if options.json:
        options.json.write_text(json.dumps([vars(result) for result in results], indent=2))


if __name__ == "__main__":
    main()
