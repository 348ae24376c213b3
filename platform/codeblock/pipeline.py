"""The product in one screen: pairs -> filtered -> tokenized -> segmented -> scored -> selected -> model -> pass@1.

Each stage is a cached step (experiment/cache.py) whose identity is planned before anything runs (experiment/plan.py). A stage
reads the directory of the one before and writes its own; what it does is in `work`, where Ray is met in the stages' drivers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from codeblock import work
from codeblock.core.cluster import address_of, preflight, ray_session
from codeblock.core.cluster_watch import watched_cluster
from codeblock.core.config import TINY, Config
from codeblock.core.console import counter, say, stage_line
from codeblock.core.models.config import tells_context
from codeblock.core.records import EvaluatedRecord, NllRecord, ScoredRecord, SelectedRecord
from codeblock.core.storage import places
from codeblock.core.storage.claims import remove_dead
from codeblock.data.filter.rating import check_endpoint
from codeblock.data.rank.driver import tools
from codeblock.data.rank.keep import keep
from codeblock.data.read.stage import read_pairs
from codeblock.experiment.arms import ArmPlan, Model, Round
from codeblock.experiment.cache import Step, check_storage
from codeblock.experiment.check_models import check_models, probe_models
from codeblock.experiment.plan import Plan, make_plan
from codeblock.experiment.results import ArmResult, Comparison, require_pairs
from codeblock.experiment.versions import own_sources
from codeblock.experiment.watch import Ends, Watch, telling
from codeblock.sandbox.graders import Needs, require_graders
from codeblock.sandbox.pool import Settings, check_sandbox

if TYPE_CHECKING:
    from codeblock.train.driver import OnRow

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
        check_graders(plan, until)
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
    if address_of(plan.config.cluster) is None:
        for python in _pythons(plan, until):
            check_sandbox(python, plan.config.evaluate.allow_missing_layers)
    check_models(plan, until)
    if until == "evaluate":
        _check_evaluation(plan)


@contextmanager
def _session(plan: Plan) -> Iterator[None]:
    """A Ray cluster that the config fits; none where all is done already."""
    if all(step.facts is not None for step in plan.steps()):
        yield
        return
    with ray_session(plan.config.cluster, own_sources(plan.config)):
        preflight(plan.config.cluster)
        yield


def run_data(plan: Plan, until: Until) -> Comparison:
    """The stages that all arms share."""
    config, comparison = plan.config, Comparison(plan)
    if (embedded := plan.inputs.tiny) is not None and (until == "evaluate" or plan.inputs.starts_from_tiny):
        with stage_line(embedded):
            embedded.run(partial(work.build_tiny, config.seed))
        embedded.check()
    with stage_line(plan.pairs), counter("rows") as advance:
        comparison.pairs = plan.pairs.run(lambda output: read_pairs(plan.inputs.data_sets, config.pairs, output, advance))
    if plan.filtered is not None:
        with stage_line(plan.filtered):
            comparison.filtered = plan.filtered.run(partial(work.filter_pairs, plan), resume=True)
    _note_no_context(plan)
    with stage_line(plan.tokenized):
        comparison.tokenized = plan.tokenized.run(partial(work.tokenize, plan), resume=True)
    with stage_line(plan.segmented):
        comparison.segmented = plan.segmented.run(partial(work.segment, plan), resume=True)
    require_pairs(comparison)
    if until != "prepare":
        _rank(plan, comparison)
        comparison.scored = _score(plan, plan.scored, plan.reference, "nll")
    return comparison


def _rank(plan: Plan, comparison: Comparison) -> None:
    """Rank the pool, by passes of the reference over it where a ranker needs them, and keep the best pairs."""
    if plan.pool_scored is not None:
        with stage_line(plan.pool_scored):
            plan.pool_scored.run(partial(work.score_pool, plan), resume=True)
    if plan.embedded is not None:
        with stage_line(plan.embedded):
            plan.embedded.run(partial(work.embed_pairs, plan), resume=True)
    with stage_line(plan.ranked):
        comparison.ranked = plan.ranked.run(partial(work.rank_pairs, plan))
    segmented, ranked = plan.segmented.directory, plan.ranked.directory
    with stage_line(plan.kept):
        plan.kept.run(lambda output: keep(segmented, ranked, output, int(plan.reach())), resume=True)


def _score(plan: Plan, step: Step, model: Model, column: str) -> ScoredRecord:
    """Score the kept pairs by a model."""
    with stage_line(step):
        return step.run(partial(work.score_kept, plan, model, column), resume=True)


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
    answers, graded = arm.generated[name], arm.graded[name]
    with stage_line(answers):
        facts = answers.run(partial(work.generate, plan, arm, name, model), resume=True)
    with stage_line(graded):
        verdicts = graded.run(partial(work.grade, plan, name, answers.directory), resume=True)
        return cast(EvaluatedRecord, {**facts, **verdicts})


def measure_reference_nll(plan: Plan, comparison: Comparison) -> None:
    """Measure every arm's reference nll, and the untrained model's, which several may share."""
    models = [(plan.model, plan.untrained_nll), *((model_of(plan, arm), arm.reference_nll) for arm in plan.arms)]
    wanted = {step.key: (step, model, name) for model, steps in models for name, step in steps.items()}
    for step, *_ in wanted.values():
        if step.facts is not None:
            with stage_line(step):
                pass
    if pending := [each for each in wanted.values() if each[0].facts is None]:
        work.measure_reference_nll(plan, pending)
    facts = {key: cast(NllRecord, step.facts or {}) for key, (step, *_) in wanted.items()}
    comparison.untrained_nll = {name: facts[step.key] for name, step in plan.untrained_nll.items()}
    for result in comparison.arms:
        result.reference_nll = {name: facts[step.key] for name, step in result.plan.reference_nll.items()}


def model_of(plan: Plan, arm: ArmPlan) -> Model:
    """The model that an arm ends with."""
    return Model.trained_by(arm.trained) if arm.trained else plan.model


def _select(plan: Plan, arm: ArmPlan, round_: Round) -> SelectedRecord:
    for column, needed in round_.extra.items():
        _score(plan, needed.step, needed.model, column)
    with stage_line(round_.selected):
        return round_.selected.run(partial(work.select, plan, arm, round_))


def _train(plan: Plan, round_: Round, seed: int, on_row: OnRow | None, ends: Ends | None) -> dict[str, Any]:
    with stage_line(round_.trained):
        return round_.trained.run(partial(work.train, plan, round_, seed, on_row, ends), resume=True)


def _note_no_context(plan: Plan) -> None:
    """Say where no pair is too long, for the model tells no context length."""
    model = plan.model.ref
    if plan.config.model.max_length or tells_context(model.path, model.revision):
        return
    from codeblock.core.models.load import context_length

    if context_length(model.path, model.revision) is None:
        name = places.show(model.path)
        say(f"note: {name} tells no context length, so no pair is too long; set model.max_length where memory ends")


def _check_filters(plan: Plan) -> None:
    """Refuse what the filters need and cannot have, before any stage has begun."""
    rating = plan.config.filter.rating
    if rating is not None and plan.filtered is not None and plan.filtered.facts is None:
        check_endpoint(rating)


def _check_evaluation(plan: Plan) -> None:
    """Refuse before anything is trained a machine without the engine, and a benchmark that cannot be asked."""
    config = plan.config.evaluate
    todo = {name for arm in plan.arms for name, step in arm.generated.items() if step.facts is None}
    if todo and config.engine == "vllm":
        from codeblock.evaluate.vllm_engine import check_vllm

        check_vllm(plan.config.cluster)
    todo |= {name for name, step in plan.untrained_nll.items() if step.facts is None}
    if (embedded := plan.inputs.tiny) is not None and embedded.facts is None:
        todo = {name for name in todo if config.benchmarks[name] != TINY}  # its tasks are made in the run
    if todo and plan.config.model.path != TINY:
        from codeblock.core.models.load import load_tokenizer
        from codeblock.evaluate.prompts import check_prompts

        benchmarks = [work.benchmark_of(plan, name) for name in sorted(todo)]
        check_prompts(load_tokenizer(plan.model.path, plan.model.revision), benchmarks, config.prompt)


def check_graders(plan: Plan, until: Until = "evaluate") -> None:
    """Refuse before any stage a cluster on which no program can be run. Needs the session of the run."""
    if address_of(plan.config.cluster) is not None:
        for python in _pythons(plan, until):
            require_graders(Needs.of(Settings(python=python, allow_missing_layers=plan.config.evaluate.allow_missing_layers)))


def _pythons(plan: Plan, until: Until) -> set[str | None]:
    """The interpreters of programs that are still to be run: examples of responses, and solutions."""
    ranks = until != "prepare" and plan.ranked.facts is None and "python" in tools(plan.config.rank)
    found: set[str | None] = {None} if ranks else set()
    if until == "evaluate":
        ungraded = {name for arm in plan.arms for name, step in arm.graded.items() if step.facts is None}
        found |= {plan.config.evaluate.python_of(name) for name in ungraded}
    return found
