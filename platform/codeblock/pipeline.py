"""The product in one screen: pairs -> filtered -> tokenized -> segmented -> scored -> selected -> model -> pass@1.

Each stage is a cached step (experiment/cache.py) whose identity is planned before anything runs (experiment/plan.py). A stage
reads the directory of the one before and writes its own; Ray does the work inside the stages' drivers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from codeblock import tiny
from codeblock.annotate.prepare.driver import segment, tokenize
from codeblock.annotate.score.driver import score
from codeblock.core.cluster import preflight, ray_session
from codeblock.core.cluster_watch import watched_cluster
from codeblock.core.config import TINY, Config
from codeblock.core.console import counter, lines, say, stage_line
from codeblock.core.models.load import NO_LIMIT, context_length, load_tokenizer
from codeblock.core.records import EvaluatedRecord, FilteredRecord, NllRecord, ScoredRecord, SelectedRecord
from codeblock.core.storage import places
from codeblock.core.storage.claims import remove_dead
from codeblock.data.filter.contamination import BenchmarkText
from codeblock.data.filter.driver import filter_pairs
from codeblock.data.filter.rating import check_endpoint
from codeblock.data.rank.driver import embed_pairs, tools
from codeblock.data.rank.keep import keep
from codeblock.data.rank.stage import rank_pairs
from codeblock.data.read.stage import read_pairs
from codeblock.evaluate.benchmarks import load
from codeblock.evaluate.driver import generate, grade_answers
from codeblock.evaluate.prompts import check_prompts
from codeblock.evaluate.reference_nll_driver import NllJob, fill_parts, finish
from codeblock.evaluate.vllm_engine import check_vllm
from codeblock.experiment.arms import ArmPlan, Model, Round
from codeblock.experiment.cache import Step, check_storage, run_together
from codeblock.experiment.check_models import check_models, probe_models
from codeblock.experiment.plan import Plan, make_plan
from codeblock.experiment.results import ArmResult, Comparison, require_pairs
from codeblock.experiment.watch import Ends, Watch, telling
from codeblock.sandbox.pool import Settings, check_sandbox
from codeblock.selection.driver import select_arm
from codeblock.train.driver import Callbacks, OnRow, fit

Until = Literal["prepare", "score", "select", "train", "evaluate"]
ORDER: tuple[Until, ...] = ("prepare", "score", "select", "train", "evaluate")


def run(config: Config, until: Until = "evaluate", watch: Watch | None = None) -> Comparison:
    """Take a config through the stages, up to `until`; what is done already is not done again.

    Raises CodeBlockError with one line for everything the user can mend.
    """
    cache = check_storage(config.storage)
    remove_dead(cache)
    plan, watch = make_plan(config, cache), watch or Watch()
    check_plan(plan, until)
    watch.begin(plan)
    with _session(plan), telling(watch.ended_by), watched_cluster(config.cluster, watch.ended_by):
        probe_models(plan, until)
        comparison = run_data(plan, until)
        if until in ORDER[2:]:
            for arm in plan.arms:
                comparison.arms.append(run_arm(plan, arm, until, watch))
                watch.arm_done(comparison.arms[-1])
        if until == "evaluate":
            measure_reference_nll(plan, comparison)
    return comparison


def check_plan(plan: Plan, until: Until = "evaluate") -> None:
    """Refuse before any work what can be told from files: filters, models, sandbox, engine and benchmarks that will not do."""
    _check_filters(plan)
    check_models(plan, until)
    if until == "evaluate":
        _check_evaluation(plan)


@contextmanager
def _session(plan: Plan) -> Iterator[None]:
    """A Ray cluster that the config fits; none where all is done already."""
    if all(step.facts is not None for step in plan.steps()):
        yield
        return
    with ray_session(plan.config.cluster):
        preflight(plan.config.cluster)
        yield


def run_data(plan: Plan, until: Until) -> Comparison:
    """The stages that all arms share."""
    config, comparison = plan.config, Comparison(plan)
    if (embedded := plan.inputs.tiny) is not None and (until == "evaluate" or plan.inputs.starts_from_tiny):
        with stage_line(embedded):
            embedded.run(partial(_build_tiny, config.seed))
        embedded.check()
    with stage_line(plan.pairs), counter("rows") as advance:
        comparison.pairs = plan.pairs.run(lambda output: read_pairs(plan.inputs.data_sets, config.pairs, output, advance))
    if plan.filtered is not None:
        with stage_line(plan.filtered):
            found = plan.filtered.run(
                lambda output: filter_pairs(plan.pairs.directory, output, config.filter, _references(plan), config.cluster),
                resume=True,
            )
            comparison.filtered = cast(FilteredRecord, found)
    max_length = config.model.max_length or context_length(plan.model.path, plan.model.revision)
    if max_length is None:
        name = places.show(plan.model.path)
        say(f"note: {name} tells no context length, so no pair is too long; set model.max_length where memory ends")
        max_length = NO_LIMIT
    with stage_line(plan.tokenized):
        comparison.tokenized = plan.tokenized.run(
            lambda output: tokenize(plan.to_tokenize.directory, output, plan.model.ref, max_length),
            resume=True,
        )
    with stage_line(plan.segmented):
        comparison.segmented = plan.segmented.run(
            lambda output: segment(plan.tokenized.directory, output, config.prepare), resume=True
        )
    require_pairs(comparison)
    if until != "prepare":
        _rank(plan, comparison)
        comparison.scored = _score(plan, plan.scored, plan.reference, "nll")
    return comparison


def _rank(plan: Plan, comparison: Comparison) -> None:
    """Rank the pool, by passes of the reference over it where a ranker needs them, and keep the best pairs."""
    config, reference, segmented = plan.config, plan.reference, plan.segmented.directory
    if plan.pool_scored is not None:
        with stage_line(plan.pool_scored):
            work = partial(score, segmented, model=reference.ref, config=config.score, cluster=config.cluster)
            plan.pool_scored.run(work, resume=True)
    if plan.embedded is not None:
        with stage_line(plan.embedded):
            plan.embedded.run(
                lambda output: embed_pairs(segmented, output, reference.ref, config.rank, config.score, config.cluster),
                resume=True,
            )
    read: dict[str, Any] = {
        "scored": plan.pool_scored.directory if plan.pool_scored else None,
        "embedded": plan.embedded.directory if plan.embedded else None,
        "sandbox": Settings(
            processes=config.cluster.grade_processes, allow_missing_layers=config.evaluate.allow_missing_layers
        ),
    }
    with stage_line(plan.ranked):
        comparison.ranked = plan.ranked.run(lambda output: rank_pairs(segmented, output, config.rank, config.seed, **read))
    with stage_line(plan.kept):
        plan.kept.run(lambda output: keep(segmented, plan.ranked.directory, output, int(plan.reach())), resume=True)


def _score(plan: Plan, step: Step, model: Model, column: str) -> ScoredRecord:
    """Score the kept pairs by a model."""
    config = plan.config
    with stage_line(step):
        work = partial(score, plan.kept.directory, model=model.ref, config=config.score)
        return step.run(partial(work, cluster=config.cluster, column=column, rows=plan.reach()), resume=True)


def run_arm(plan: Plan, arm: ArmPlan, until: Until, watch: Watch) -> ArmResult:
    """Select, train and evaluate one arm."""
    result, model = ArmResult(arm), plan.model
    for each in arm.rounds:
        result.add_selected(_select(plan, arm, each))
        if until in ORDER[3:]:
            on_row = partial(watch.row, arm) if each is arm.rounds[-1] else None
            result.add_trained(_train(plan, each, arm.seed, on_row, watch.ends))
            model = Model.trained_by(each.trained)
    if until == "evaluate":
        for name in arm.generated:
            result.evaluated[name] = _evaluate(plan, arm, name, model)
    return result


def _evaluate(plan: Plan, arm: ArmPlan, name: str, model: Model) -> EvaluatedRecord:
    """Answer a benchmark and grade the answers; the facts of both."""
    config, answers, graded = plan.config, arm.generated[name], arm.graded[name]
    benchmark = load(name, plan.inputs.benchmark_path(name), config.evaluate.limit)
    how: dict[str, Any] = {"config": config.evaluate, "cluster": config.cluster}
    with stage_line(answers):
        facts = answers.run(partial(generate, model.ref, benchmark, seed=arm.seed, **how), resume=True)
    with stage_line(graded):
        work = partial(grade_answers, answers.directory, benchmark, store=config.storage / "expected", **how)
        return cast(EvaluatedRecord, {**facts, **graded.run(work)})


def measure_reference_nll(plan: Plan, comparison: Comparison) -> None:
    """Measure every arm's reference nll, and the untrained model's, which several may share."""
    config = plan.config
    benchmarks = {name: load(name, plan.inputs.benchmark_path(name), config.evaluate.limit) for name in plan.untrained_nll}
    models = [(plan.model, plan.untrained_nll), *((model_of(plan, arm), arm.reference_nll) for arm in plan.arms)]
    jobs = {
        step.key: (step, partial(NllJob, model.ref, benchmarks[name]))
        for model, steps in models
        for name, step in steps.items()
    }
    for step, _ in jobs.values():
        if step.facts is not None:
            with stage_line(step):
                pass

    def fill(todo: list[tuple[Step, Path]]) -> None:
        with lines("reference_nll"):
            fill_parts([jobs[step.key][1](output) for step, output in todo], config.evaluate, config.cluster)

    def end(step: Step, job: Callable[[Path], NllJob], output: Path) -> NllRecord:
        with stage_line(step):
            return finish(job(output))

    run_together([(step, partial(end, step, job)) for step, job in jobs.values()], fill)
    facts = {key: cast(NllRecord, step.facts or {}) for key, (step, _) in jobs.items()}
    comparison.untrained_nll = {name: facts[step.key] for name, step in plan.untrained_nll.items()}
    for result in comparison.arms:
        result.reference_nll = {name: facts[step.key] for name, step in result.plan.reference_nll.items()}


def model_of(plan: Plan, arm: ArmPlan) -> Model:
    """The model that an arm ends with."""
    return Model.trained_by(arm.trained) if arm.trained else plan.model


def _select(plan: Plan, arm: ArmPlan, round_: Round) -> SelectedRecord:
    for column, needed in round_.extra.items():
        _score(plan, needed.step, needed.model, column)
    scores = {column: needed.step.directory for column, needed in round_.extra.items()}
    request = plan.selection(arm)
    request = replace(request, scores={**request.scores, **scores}, share=round_.share)
    with stage_line(round_.selected):
        return round_.selected.run(partial(select_arm, request, plan.model.ref))


def _train(plan: Plan, round_: Round, seed: int, on_row: OnRow | None, ends: Ends | None) -> dict[str, Any]:
    config = plan.config
    work = partial(fit, round_.selected.directory, round_.start.ref, callbacks=Callbacks(on_row, ends))
    with stage_line(round_.trained):
        return round_.trained.run(
            lambda output: work(output, config=round_.train, cluster=config.cluster, seed=seed), resume=True
        )


def _references(plan: Plan) -> list[BenchmarkText]:
    """All tasks that pairs must not hold, whatever `evaluate.limit` says."""
    return [
        BenchmarkText(name, task.task_id, task.prompt, task.reference)
        for name in plan.inputs.decontaminated
        for task in load(name, plan.inputs.benchmark_path(name)).tasks
    ]


def _check_filters(plan: Plan) -> None:
    """Refuse what the filters need and cannot have, before any stage has begun."""
    rating = plan.config.filter.rating
    if rating is not None and plan.filtered is not None and plan.filtered.facts is None:
        check_endpoint(rating)
    if "python" in tools(plan.config.rank) and plan.ranked.facts is None:
        check_sandbox(None, plan.config.evaluate.allow_missing_layers)


def _check_evaluation(plan: Plan) -> None:
    """Refuse before anything is trained: a machine without isolation or engine, and a benchmark that cannot be asked."""
    config = plan.config.evaluate
    ungraded = {name for arm in plan.arms for name, step in arm.graded.items() if step.facts is None}
    for python in {config.python_of(name) for name in ungraded}:
        check_sandbox(python, config.allow_missing_layers)
    todo = {name for arm in plan.arms for name, step in arm.generated.items() if step.facts is None}
    if todo and config.engine == "vllm":
        check_vllm(plan.config.cluster)
    todo |= {name for name, step in plan.untrained_nll.items() if step.facts is None}
    if todo and plan.config.model.path != TINY:
        benchmarks = [load(name, plan.inputs.benchmark_path(name), config.limit) for name in sorted(todo)]
        check_prompts(load_tokenizer(plan.model.path, plan.model.revision), benchmarks, config.prompt)


def _build_tiny(seed: int, output: Path) -> dict[str, Any]:
    tiny.build(output, seed, say)
    return {}
