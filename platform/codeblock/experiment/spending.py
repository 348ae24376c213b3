"""Finds what each arm of a run has cost (`arm_cost`).

FLOPs are found when a report is written, from what the steps left on disk: the batches of each pass are made again, by the code
that made them, and priced by `cost`. Seconds and memory are what the steps measured; work that an interrupted run had done
before is not in them. Sizes of batches are those of the present config.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from codeblock.core.errors import CodeBlockError
from codeblock.core.models.config import base_of
from codeblock.core.models.load import load_tokenizer
from codeblock.core.storage.scores import places, values_of
from codeblock.core.storage.tables import parts, read_part
from codeblock.data.rank.embed import LAYERS
from codeblock.evaluate.benchmarks import load
from codeblock.evaluate.driver import read_answers
from codeblock.evaluate.prompts import make_prompt
from codeblock.evaluate.reference_nll_driver import BATCH_TOKENS, PART_TASKS
from codeblock.evaluate.stored_nll import FILE
from codeblock.experiment.arm_cost import EVALUATION, SCORING, SELECTION, TRAINING, ArmCost, Spent
from codeblock.experiment.arms import ArmPlan, Round
from codeblock.experiment.cache import Step
from codeblock.experiment.cost import (
    Adapters,
    ModelShape,
    Trained,
    adapters_of,
    generation_flops,
    padded_forward_flops,
    shape_of,
)
from codeblock.experiment.cost import training_flops as pass_flops
from codeblock.experiment.plan import Plan
from codeblock.selection import get_strategy
from codeblock.train.batches import CPU_CALL, GPU_CALL, micro_batches, share_of
from codeblock.train.loop import plan_run
from codeblock.train.stored import store_pairs

READS_NLL = frozenset({"gce_q", "aggregate", "attention_share"})
"""Fields of the section `select` that only rules which read the reference's nll use."""


class ScoredPart(NamedTuple):
    """What the pass over the pairs of one part takes; FLOPs 0 where the model's layers are not known."""

    pairs: int
    tokens: int
    flops: float


class Ledger:
    """Prices the arms of one plan, as far as their steps have finished; what arms share is priced once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._shapes: dict[str, ModelShape | None] = {}
        self._passes: dict[str, float | None] = {}
        self._scored: dict[str, list[ScoredPart]] = {}
        self._reach: dict[str, int] = {}
        self._prompts: dict[str, dict[str, int]] = {}

    def of(self, arm: ArmPlan) -> ArmCost:
        """The cost of an arm."""
        cost = ArmCost()
        for each in arm.rounds:
            self._add_scoring(cost.stages[SCORING], arm, each)
            self._add_selection(cost.stages[SELECTION], each)
            if facts := each.trained.facts:
                flops = self._training(each, facts, arm.seed)
                cost.stages[TRAINING].add(flops, facts, ("train_seconds",))
        self._add_evaluation(cost.stages[EVALUATION], arm)
        return cost

    def _add_scoring(self, spent: Spent, arm: ArmPlan, round_: Round) -> None:
        steps = {column: (needed.step, needed.model.path) for column, needed in round_.extra.items()}
        if reads_nll(arm) and round_ is arm.rounds[0] and self.plan.pool_scored is None:  # else the ranking has them scored
            steps["nll"] = (self.plan.scored, self.plan.reference.path)
        for column, (step, path) in steps.items():
            if facts := step.facts:
                flops, share = self._scoring(step, column, path, self._looked_at(arm))
                spent.add(flops, {**facts, "wall_seconds": share * facts["wall_seconds"]}, ("wall_seconds",))

    def _add_selection(self, spent: Spent, round_: Round) -> None:
        plan = self.plan
        ranking = [plan.pool_scored, plan.embedded, plan.ranked] if round_.share[0] == 0 else []
        for step in [*(step for step in ranking if step is not None), round_.selected]:
            if facts := step.facts:
                spent.add(self._ranking(step), facts, ("wall_seconds",))

    def _ranking(self, step: Step) -> float | None:
        """What the passes of a model over the whole pool cost; the rest of a selection has none."""
        if step is self.plan.pool_scored:
            return self._scoring(step, "nll", self.plan.reference.path)[0]
        return self._embedding(step) if step is self.plan.embedded else 0.0

    def _add_evaluation(self, spent: Spent, arm: ArmPlan) -> None:
        shape = self._shape(self.plan.model.path)
        adapters = self._adapters(shape) if shape and arm.rounds else None
        for name, step in arm.generated.items():
            if facts := step.facts:
                batches = self._answer_batches(name, step)
                spent.add(generation_flops(shape, batches, adapters) if shape else None, facts, ("generate_seconds",))
        for step in arm.graded.values():
            if facts := step.facts:
                spent.add(0.0, facts, ("grade_seconds",))
        for step in arm.reference_nll.values():
            if facts := step.facts:
                spent.add(reference_flops(shape, step.directory, adapters) if shape else None, facts, ("seconds",))

    def _shape(self, path: str) -> ModelShape | None:
        if path not in self._shapes:
            try:
                self._shapes[path] = shape_of(
                    *base_of(path, self.plan.model.revision if path == self.plan.model.path else None)
                )
            except (CodeBlockError, OSError, ValueError, AttributeError, IndexError):
                self._shapes[path] = None  # its cost is a dash in the table
        return self._shapes[path]

    def _adapters(self, shape: ModelShape) -> Adapters | None:
        train = self.plan.config.train
        return adapters_of(shape, train.lora) if train.mode == "lora" else None

    def _looked_at(self, arm: ArmPlan) -> int:
        """Ranks that an arm looks at; other arms, and earlier runs, may have had more of them scored."""
        if arm.arm not in self._reach:
            self._reach[arm.arm] = self.plan.selection(arm).split().reach
        return self._reach[arm.arm]

    def _scoring(self, step: Step, column: str, path: str, rows: float = math.inf) -> tuple[float | None, float]:
        """FLOPs of a pass over the parts that hold the best `rows` pairs, and their share of all tokens that were scored."""
        shape = self._shape(path)
        if step.key not in self._scored:
            pool = step is self.plan.pool_scored
            pairs = parts((self.plan.segmented if pool else self.plan.kept).directory)
            self._scored[step.key] = [self._scored_part(shape, part, step.directory, column) for part in pairs]
        every = self._scored[step.key]
        starts = accumulate((part.pairs for part in every), initial=0)
        own = [part for part, start in zip(every, starts, strict=False) if start < rows]
        share = sum(part.tokens for part in own) / max(1, _tokens(step.directory, column))
        return sum(part.flops for part in own) if shape else None, min(1.0, share)

    def _scored_part(self, shape: ModelShape | None, part: Path, scores: Path, column: str) -> ScoredPart:
        """A pass over every pair that has scores, with logits at its response; none where only attention is looked at."""
        lengths, known = _lengths(part, scores, column)
        logits = known if column != "prompt_attention" else [0] * len(lengths)
        flops = padded_forward_flops(shape, lengths, logits, self.plan.config.score.batch_tokens) if shape else 0.0
        return ScoredPart(len(lengths), sum(lengths), flops)

    def _embedding(self, step: Step) -> float | None:
        """A pass over every pair without logits, or of the first layers over every prompt."""
        if step.key not in self._passes:
            shape, total, few = self._shape(self.plan.reference.path), 0.0, self.plan.config.rank.embedding == "layers"
            for part in parts(self.plan.segmented.directory) if shape else []:
                table = read_part(part, ["input_ids", "response_start"])
                whole, prompts = pc.list_value_length(table["input_ids"]).to_pylist(), table["response_start"].to_pylist()
                lengths = prompts if few else whole
                assert shape is not None
                read = replace(shape, layers=min(LAYERS, shape.layers)) if few else shape
                total += padded_forward_flops(read, lengths, [0] * len(lengths), self.plan.config.score.batch_tokens)
            self._passes[step.key] = total if shape else None
        return self._passes[step.key]

    def _training(self, round_: Round, facts: dict[str, Any], seed: int) -> float | None:
        """The passes of every optimiser step, cut into micro-batches as the workers cut them."""
        shape = self._shape(self.plan.model.path)
        if shape is None:
            return None
        config, on_gpu = round_.train, self.plan.config.cluster.gpus_per_worker > 0
        pairs, _ = store_pairs(round_.selected.directory)
        pack = config.pack == "always" or (config.pack == "auto" and on_gpu)
        how = Trained(self._adapters(shape), config.gradient_checkpointing)
        total = 0.0
        for step in plan_run(pairs.supervised_P, config, seed):
            chosen = [pairs[number] for number in step.tolist()]
            for rank in range(facts["world_size"]):
                share = share_of(chosen, rank, facts["world_size"])
                for batch in micro_batches(share, config.micro_batch_tokens, pack, GPU_CALL if on_gpu else CPU_CALL):
                    rows, width = batch.input_ids_BT.shape
                    total += pass_flops(shape, rows, width, len(batch.index_N), batch.most, how)
        return total

    def _answer_batches(self, benchmark: str, step: Step) -> list[tuple[int, list[int]]]:
        """Longest prompt of each batch, and the tokens of its answers; vLLM does not pad."""
        prompts, config = self._prompt_lengths(benchmark), self.plan.config.evaluate
        answers = [answer for answer in read_answers(step.directory).values() if answer.tokens]
        made = sorted(((prompts[each.task_id], each.task_id, each.sample, each.tokens) for each in answers), reverse=True)
        size = 1 if config.engine == "vllm" else config.batch_size
        chunks = [made[start : start + size] for start in range(0, len(made), size)]
        return [(chunk[0][0], [tokens for *_, tokens in chunk]) for chunk in chunks]

    def _prompt_lengths(self, benchmark: str) -> dict[str, int]:
        if benchmark not in self._prompts:
            config = self.plan.config.evaluate
            tasks = load(benchmark, self.plan.inputs.benchmark_path(benchmark), config.limit)
            self._prompts[benchmark] = {
                task.task_id: len(make_prompt(self._tokenizer, tasks, task, config.prompt).ids) for task in tasks.tasks
            }
        return self._prompts[benchmark]

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.plan.model.path, self.plan.model.revision)


def reads_nll(arm: ArmPlan) -> bool:
    """Whether an arm's rule looks at the reference's scores; a function of the user's own is taken to."""
    if arm.strategy is None:
        return False
    rule = get_strategy(arm.strategy)
    return bool(rule.needs or READS_NLL & rule.uses or rule.name == "top_loss_tokens" or ":" in arm.strategy)


def reference_flops(shape: ModelShape, directory: Path, adapters: Adapters | None) -> float:
    """The passes of `reference_nll_driver` over the tasks that count."""
    columns = ["task_id", "length", "tokens", "closing_tokens", "reason"]
    rows = read_part(directory / FILE, columns).to_pylist()
    rows.sort(key=lambda row: (-row["length"], row["task_id"]))
    total = 0.0
    for start in range(0, len(rows), PART_TASKS):
        part = [row for row in rows[start : start + PART_TASKS] if row["reason"] is None]
        logits = [row["tokens"] + row["closing_tokens"] for row in part]
        total += padded_forward_flops(shape, [row["length"] for row in part], logits, BATCH_TOKENS, adapters)
    return total


def _tokens(scores: Path, column: str) -> int:
    """Tokens of all pairs that have scores, other runs' too."""
    return sum(pc.sum(pc.list_value_length(read_part(part, [column])[column])).as_py() or 0 for part in parts(scores))


def _lengths(part: Path, scores: Path, column: str) -> tuple[list[int], list[int]]:
    """Tokens of each pair of a part that has scores, and how many of them have a value."""
    there = places(scores)
    ids = [id_ for id_ in read_part(part, ["id"])["id"].to_pylist() if id_ in there]
    values = values_of(ids, scores, column).to_numpy(zero_copy_only=False)
    return [len(each) for each in values], [int(np.count_nonzero(~np.isnan(each))) for each in values]
