"""The work of each step, done where the step is pending.

What brings Ray or torch is imported by the function that needs it: a run with nothing left to do takes none of their seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from codeblock import tiny
from codeblock.core.console import lines, say, stage_line
from codeblock.core.records import (
    FilteredRecord,
    GeneratedRecord,
    GradedRecord,
    NllRecord,
    RankedRecord,
    ScoredRecord,
    SegmentedRecord,
    SelectedRecord,
    TokenizedRecord,
)
from codeblock.data.filter.contamination import BenchmarkText
from codeblock.evaluate.benchmarks import Benchmark, load
from codeblock.experiment.arms import ArmPlan, Model, Round
from codeblock.experiment.cache import Step, run_together
from codeblock.experiment.plan import Plan
from codeblock.experiment.watch import Ends
from codeblock.sandbox.pool import Settings

if TYPE_CHECKING:
    from codeblock.train.driver import OnRow


def build_tiny(seed: int, output: Path) -> dict[str, Any]:
    """Make the embedded default."""
    tiny.build(output, seed, say)
    return {}


def filter_pairs(plan: Plan, output: Path) -> FilteredRecord:
    """Take out what the filters refuse; pairs must not hold any task of a benchmark, whatever `evaluate.limit` says."""
    from codeblock.data.filter.driver import filter_pairs

    references = [
        BenchmarkText(name, task.task_id, task.prompt, task.reference)
        for name in plan.inputs.decontaminated
        for task in load(name, plan.inputs.benchmark_path(name)).tasks
    ]
    config = plan.config
    return cast(FilteredRecord, filter_pairs(plan.pairs.directory, output, config.filter, references, config.cluster))


def tokenize(plan: Plan, output: Path) -> TokenizedRecord:
    """Render the pairs, as far as they fit the context."""
    from codeblock.annotate.prepare.driver import tokenize
    from codeblock.core.models.load import NO_LIMIT, context_length

    model = plan.model.ref
    max_length = plan.config.model.max_length or context_length(model.path, model.revision) or NO_LIMIT
    return tokenize(plan.to_tokenize.directory, output, model, max_length)


def segment(plan: Plan, output: Path) -> SegmentedRecord:
    """Find the items of the code."""
    from codeblock.annotate.prepare.driver import segment

    return segment(plan.tokenized.directory, output, plan.config.prepare)


def score_pool(plan: Plan, output: Path) -> ScoredRecord:
    """Score every pair of the pool by the reference, for rankers that need it."""
    from codeblock.annotate.score.driver import score

    config = plan.config
    return score(plan.segmented.directory, output, plan.reference.ref, config.score, config.cluster)


def score_kept(plan: Plan, model: Model, column: str, output: Path) -> ScoredRecord:
    """Score the kept pairs by a model, as far as an arm looks at them."""
    from codeblock.annotate.score.driver import score

    config = plan.config
    return score(plan.kept.directory, output, model.ref, config.score, config.cluster, column, plan.reach())


def embed_pairs(plan: Plan, output: Path) -> dict[str, Any]:
    """Embed the pool by the reference."""
    from codeblock.data.rank.driver import embed_pairs

    config = plan.config
    return embed_pairs(plan.segmented.directory, output, plan.reference.ref, config.rank, config.score, config.cluster)


def rank_pairs(plan: Plan, output: Path) -> RankedRecord:
    """Rank the pool."""
    from codeblock.data.rank.stage import rank_pairs  # brings scipy

    config = plan.config
    sandbox = Settings(processes=config.cluster.grade_processes, allow_missing_layers=config.evaluate.allow_missing_layers)
    return rank_pairs(
        plan.segmented.directory,
        output,
        config.rank,
        config.seed,
        scored=plan.pool_scored.directory if plan.pool_scored else None,
        embedded=plan.embedded.directory if plan.embedded else None,
        sandbox=sandbox,
    )


def select(plan: Plan, arm: ArmPlan, round_: Round, output: Path) -> SelectedRecord:
    """Select the tokens of a round."""
    from codeblock.selection.driver import select_arm

    scores = {column: needed.step.directory for column, needed in round_.extra.items()}
    request = plan.selection(arm)
    request = replace(request, scores={**request.scores, **scores}, share=round_.share)
    return select_arm(request, plan.model.ref, output)


def train(plan: Plan, round_: Round, seed: int, on_row: OnRow | None, ends: Ends | None, output: Path) -> dict[str, Any]:
    """Fit the model of a round; `on_row` and `ends` as in `train.driver.Callbacks`."""
    from codeblock.train.driver import Callbacks, fit

    selected, start, cluster = round_.selected.directory, round_.start.ref, plan.config.cluster
    return fit(selected, start, output, round_.train, cluster, seed, Callbacks(on_row, ends))


def generate(plan: Plan, arm: ArmPlan, benchmark: str, model: Model, output: Path) -> GeneratedRecord:
    """Answer a benchmark, as far as no run with another number of tasks or samples has done it."""
    from codeblock.evaluate.driver import generate, take_answers

    config, asked = plan.config, benchmark_of(plan, benchmark)
    others = arm.generated[benchmark].finished_but_for(("limit", "samples"))
    seconds = take_answers(asked, output, config.evaluate, others)
    facts = generate(model.ref, asked, output, config.evaluate, config.cluster, arm.seed)
    return {**facts, "generate_seconds": facts["generate_seconds"] + seconds}


def grade(plan: Plan, benchmark: str, answers: Path, output: Path) -> GradedRecord:
    """Grade the answers to a benchmark."""
    from codeblock.evaluate.driver import grade_answers

    config, store = plan.config, plan.config.storage / "expected"
    return grade_answers(answers, benchmark_of(plan, benchmark), output, config.evaluate, config.cluster, store)


def measure_reference_nll(plan: Plan, wanted: Sequence[tuple[Step, Model, str]]) -> None:
    """Measure the reference nll of models on benchmarks: one pool of actors for all."""
    from codeblock.evaluate.reference_nll_driver import NllJob, fill_parts, finish

    config = plan.config
    benchmarks = {name: benchmark_of(plan, name) for *_, name in wanted}
    asked = {step.key: (model.ref, benchmarks[name]) for step, model, name in wanted}

    def fill(todo: list[tuple[Step, Path]]) -> None:
        with lines("reference_nll"):
            fill_parts([NllJob(*asked[step.key], output) for step, output in todo], config.evaluate, config.cluster)

    def end(step: Step, output: Path) -> NllRecord:
        with stage_line(step):
            return finish(NllJob(*asked[step.key], output))

    run_together([(step, partial(end, step)) for step, *_ in wanted], fill)


def benchmark_of(plan: Plan, name: str) -> Benchmark:
    """A benchmark of the config, as far as `evaluate.limit` says."""
    return load(name, plan.inputs.benchmark_path(name), plan.config.evaluate.limit)
