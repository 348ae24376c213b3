"""What a config asks for, as cached steps: which there are, what decides each, and which are done already.

Identities chain: a step's identity holds digests of what the steps that it reads have written, so a change of the budget names
new selections and fits and leaves pairs, tokens and scores where they are, and a change that alters no row ends with its step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from codeblock.core.config import Config
from codeblock.core.installed import installed
from codeblock.core.storage.scores import Covered
from codeblock.data.rank.driver import needs_model, needs_scores, tools
from codeblock.experiment.arms import ArmPlan, Model, arm_name, plan_rounds
from codeblock.experiment.cache import Product, Step
from codeblock.experiment.inputs import Inputs
from codeblock.experiment.reach import Reach, ids_of
from codeblock.experiment.versions import ADAPTING, GENERATING, TOKENIZING
from codeblock.sandbox.interpreters import interpreter, languages
from codeblock.segmentation.languages import grammar_packages
from codeblock.selection.request import SelectRequest
from codeblock.selection.strategies import get_strategy, shares_of

VERSION = {
    "pairs": 4,
    "filtered": 2,
    "tokenized": 1,
    "segmented": 1,
    "embedded": 1,
    "ranked": 4,
    "kept": 2,
    "scored": 4,
    "selected": 5,
    "trained": 2,
    "generated": 1,
    "graded": 1,
    "reference_nll": 2,
}
"""Raised with each change of a stage's code that changes its output: older results are then no longer valid."""


@dataclass(frozen=True)
class Plan:
    """All steps of a config."""

    config: Config
    inputs: Inputs
    model: Model
    reference: Model
    pairs: Step
    filtered: Step | None
    tokenized: Step
    segmented: Step
    pool_scored: Step | None
    """The reference's nll of the whole pool, where pairs are ranked by it."""
    embedded: Step | None
    """Embeddings of the whole pool by the reference, where pairs are ranked by them."""
    ranked: Step
    kept: Step
    scored: Step
    reach: Reach
    """How many of the best pairs the arms look at."""
    arms: list[ArmPlan]
    untrained_nll: dict[str, Step] = field(default_factory=dict)
    """Reference nll of the untrained model by benchmark, which every arm is held against. An untrained arm shares it."""

    @property
    def to_tokenize(self) -> Step:
        """The step whose pairs are tokenized: the last one before it."""
        return self.filtered or self.pairs

    def selection(self, arm: ArmPlan) -> SelectRequest:
        """What an arm's selection is asked for, but for its rounds."""
        assert arm.strategy is not None
        config = self.config
        return SelectRequest(
            self.kept.directory,
            self.ranked.directory,
            arm.strategy,
            arm.settings,
            config.select.shares,
            scores={"nll": self.scored.directory},
            seed=arm.seed,
            split_seed=config.seed,
            dev_pairs=config.train.dev_pairs,
        )

    def asked_shares(self) -> list[str]:
        """A line for each arm that trains: the three shares that it asks for."""
        lines = {}
        for arm in self.arms:
            if arm.strategy is not None:
                rule = get_strategy(arm.strategy)
                shares = shares_of(rule, arm.settings)
                subset = f"the best {shares.subset_ratio:.2%} of the pool's {'pairs' if shares.of_pairs else 'tokens'}"
                what = "whole responses of" if rule.whole_pairs else "all that the strategy takes inside"
                if rule.budgeted:
                    what = f"{shares.token_budget:.2%} of the pool's tokens, {shares.inside_share:.0%} inside"
                lines[arm.arm] = f"asked by {arm.arm}: {what} {subset}"
        return list(lines.values())

    def steps(self) -> list[Step]:
        """All steps in order."""
        steps = (
            *(self.inputs.tiny, self.pairs, self.filtered, self.tokenized, self.segmented),
            *(self.pool_scored, self.embedded, self.ranked, self.kept, self.scored),
        )
        of_arms = [step for arm in self.arms for step in arm.steps()]
        known = {step.key for step in of_arms}
        alone = [step for step in self.untrained_nll.values() if step.key not in known]
        return [*(step for step in steps if step is not None), *of_arms, *alone]


def make_plan(config: Config, cache: Path) -> Plan:
    """The steps of a config with their cache below `cache`. Reads inputs for their fingerprints, computes nothing.

    Raises CodeBlockError for paths, models, benchmarks or strategies that do not exist.
    """
    inputs = Inputs(config, cache)
    model = inputs.model(config.model.path, config.model.revision)
    reference = inputs.model(config.score.model) if config.score.model else model
    pairs = _step(cache, "pairs", "pairs", input=inputs.pairs(), **_without_sources(config))
    filtered = _filtered(inputs, pairs)
    rendering = {"tokenizer": model.fingerprint, "libraries": installed(TOKENIZING), "version": VERSION["tokenized"]}
    tokenized = _step(
        cache, "tokenized", "tokenize", pairs=Product(filtered or pairs), max_length=config.model.max_length, **rendering
    )
    segmented = _step(
        cache, "segmented", "segment", tokenized=Product(tokenized), grammars=_grammars(), **config.prepare.identity()
    )
    pool_scored, embedded, ranked = _ranked(config, segmented, reference, rendering, cache)
    reach = Reach(config, ranked)
    kept = _step(cache, "kept", "keep", rows=reach, after=ranked, segmented=Product(segmented), ranked=Product(ranked))
    scored = scoring(config, "score", reference, rendering, cache, covers=Covered(reach.ids), after=ranked)
    data = (pairs, filtered, tokenized, segmented, pool_scored, embedded, ranked, kept, scored)
    untrained = _reference_nll(inputs, "untrained", model)
    plan = Plan(config, inputs, model, reference, *data, reach, [], untrained)
    for name in config.arms:
        for seed in config.seeds_of(name):
            plan.arms.append(_arm(plan, name, seed))
    return plan


def scoring(
    config: Config, label: str, model: Model, rendering: dict[str, Any], cache: Path, column: str = "nll", **needed: Any
) -> Step:
    """A step of scores, which are kept by id: they hold for any pool, ranking and segmentation.

    What an id stands for is decided by the version of the pairs, and its tokens by `rendering`.
    """
    identity = {"pairs": VERSION["pairs"], "rendering": rendering, "model": model.fingerprint, "dtype": config.score.dtype}
    return _step(cache, "scored", label, column=column, **identity, **needed)


def _ranked(
    config: Config, segmented: Step, reference: Model, rendering: dict[str, Any], cache: Path
) -> tuple[Step | None, Step | None, Step]:
    """The ranking of the pool, and before it the passes of the reference over the pool that its rankers need."""
    asked = config.rank
    pool_scored = embedded = None
    if needs_scores(asked):
        whole = Covered(lambda: ids_of(segmented))
        pool_scored = scoring(config, "score[pool]", reference, rendering, cache, covers=whole, after=segmented)
    if needs_model(asked):
        of_model: dict[str, Any] = {"model": reference.fingerprint, "dtype": config.score.dtype}
        embedded = _step(cache, "embedded", "embed", segmented=Product(segmented), embedding=asked.embedding, **of_model)
    read: dict[str, Any] = {step.stage: Product(step) for step in (pool_scored, embedded) if step is not None}
    versions: dict[str, Callable[[], dict[str, str]]] = {"grammars": _grammars, "python": partial(interpreter, None)}
    read |= {tool: versions[tool]() for tool in tools(asked)}
    ranked = _step(cache, "ranked", "rank", segmented=Product(segmented), seed=config.seed, **read, **asked.identity())
    return pool_scored, embedded, ranked


def _grammars() -> dict[str, str]:
    return installed(grammar_packages())


def _step(cache: Path, stage: str, label: str, **identity: Any) -> Step:
    """A step with the rest of its identity; `rows`, `covers` and `after` say how far a result that grows has to reach."""
    extent = {name: identity.pop(name) for name in ("rows", "covers", "after") if name in identity}
    return Step(stage, label, {"version": VERSION.get(stage), **identity}, cache, **extent)


def _without_sources(config: Config) -> dict[str, Any]:
    told = ("path", "split", "revision", "columns")
    return {key: value for key, value in config.pairs.identity().items() if key not in told}


def _filtered(inputs: Inputs, pairs: Step) -> Step | None:
    """The filters that are on; None where none is."""
    asked = inputs.config.filter
    if not asked.takes_rows:
        return None
    identity: dict[str, Any] = {"near_duplicates": asked.near_duplicates, "min_quality": asked.min_quality}
    if asked.decontaminate:
        identity["ngram"] = asked.decontaminate_ngram
        identity["benchmarks"] = {name: inputs.benchmark(name).texts for name in inputs.decontaminated}
    if asked.rating is not None:
        identity["rating"] = asked.rating.identity()
    return _step(inputs.cache, "filtered", "filter", pairs=Product(pairs), **identity)


def _arm(plan: Plan, arm: str, seed: int) -> ArmPlan:
    """The steps of one arm with one seed; `plan` has the arms before it."""
    config, inputs, name = plan.config, plan.inputs, arm_name(plan.config, arm, seed)
    step = partial(_step, inputs.cache)
    rounds = plan_rounds(plan, arm, seed, step, partial(_second_scores, plan))
    model = Model.trained_by(rounds[-1].trained) if rounds else plan.model
    generated, graded = {}, {}
    for benchmark in config.evaluate.benchmarks if config.arms[arm].generate else ():
        tasks, python = inputs.benchmark(benchmark), config.evaluate.python_of(benchmark)
        answering = partial(step, "generated", f"generate[{name}, {benchmark}]", asked=tasks.asked)
        answers = generated[benchmark] = _answers(config, seed, model, answering)
        graded[benchmark] = step(
            "graded",
            f"grade[{name}, {benchmark}]",
            answers=Product(answers),
            benchmark=benchmark,
            tasks=tasks.whole,
            interpreter={**interpreter(python), **languages(tasks.versions, python)},
            timeout_seconds=config.evaluate.timeout_seconds,
            memory_mb=config.evaluate.memory_mb,
        )
    measured = _reference_nll(inputs, name, model)
    settings = config.settings_of(arm)
    return ArmPlan(arm, seed, name, config.arms[arm].strategy, settings, rounds, generated, graded, measured)


def _second_scores(plan: Plan, label: str, model: Model, column: str) -> Step:
    """The kept pairs under a second model, rendered as they are under the first."""
    rendering, needed = plan.scored.decided_by["rendering"], Covered(plan.reach.ids)
    return scoring(plan.config, label, model, rendering, plan.scored.cache, column, covers=needed, after=plan.ranked)


def _reference_nll(inputs: Inputs, label: str, model: Model) -> dict[str, Step]:
    """The steps that measure a model's reference nll, by benchmark; none where the config does not ask for it."""
    asked = inputs.config.evaluate
    if not asked.reference_nll:
        return {}
    settings: dict[str, Any] = {"prompt": asked.prompt, "dtype": asked.dtype, "limit": asked.limit, **_answering(model)}
    return {
        name: _step(
            inputs.cache,
            "reference_nll",
            f"reference_nll[{label}, {name}]",
            benchmark=name,
            references=inputs.benchmark(name).references,
            **settings,
        )
        for name in asked.benchmarks
    }


def _answering(model: Model) -> dict[str, Any]:
    """The model that answers, and the versions of what it is run with."""
    return {"model": model.fingerprint, "libraries": installed([*GENERATING, *(ADAPTING if model.adapters else ())])}


def _answers(config: Config, seed: int, model: Model, step: Callable[..., Step]) -> Step:
    """The step of the answers to a benchmark: all that the config says of evaluation but how answers are graded."""
    others = ("benchmarks", "reference_nll", "timeout_seconds", "memory_mb")
    settings = {key: value for key, value in config.evaluate.identity().items() if key not in others}
    seeded = {"seed": seed} if config.evaluate.temperature > 0 else {}
    return step(**_answering(model), **settings, **seeded)
