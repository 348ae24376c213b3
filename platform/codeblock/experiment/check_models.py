"""Whether the models of a plan can do what is asked of them, told before anything is computed.

`check_models` reads files alone; `probe_models` loads each model once where the stages will, and holds the logits that scores
and losses are made of against its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codeblock.core.cluster import require
from codeblock.core.config import TINY, TrainConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.config import base_of
from codeblock.core.models.ref import ModelRef
from codeblock.experiment.arms import Model
from codeblock.experiment.cache import Step
from codeblock.experiment.plan import Plan


@dataclass(frozen=True)
class NeededModel:
    """A model that is needed, by where it lies, and the recipe that trains it (None: it is run as it is)."""

    model: ModelRef
    train: TrainConfig | None = None


def check_models(plan: Plan, until: str) -> None:
    """Raise CodeBlockError for what the files of the needed models tell: `check_files`, and tokenizers that do not fit.

    The tiny model is made in the run, and those that arms train are of what they are trained from.
    """
    asked = list(_asked(plan, until))
    if not asked:
        return
    from codeblock.core.models.files import check_files
    from codeblock.core.models.load import check_same_tokens, check_vocabulary, load_tokenizer

    for each in asked:
        path = each.model.path
        check_files(path, each.model.revision)
        if each.train is not None and base_of(path)[0] != path:
            raise CodeBlockError(f"model {path}: is an adapter; merge it into its base model first, or train the base")
    model = plan.model
    if plan.config.model.path != TINY:
        tokenizer = load_tokenizer(model.path, model.revision)
        for each in asked:
            check_vocabulary(each.model.path, each.model.revision, tokenizer)
            if each.model.path != model.path:
                check_same_tokens(tokenizer, each.model.path)


def probe_models(plan: Plan, until: str) -> None:
    """Load each needed model once on a worker, and raise CodeBlockError where its logits cannot be made at chosen positions.

    Only while scoring is still to come: each stage probes its own model when it begins. Needs a Ray session.
    """
    if plan.scored.facts is not None:
        return
    import ray

    cluster = plan.config.cluster
    for each in _asked(plan, until):
        require("check models", 1, cluster.cpus_per_worker, cluster.gpus_per_worker)
        probe = ray.remote(_probe).options(num_cpus=cluster.cpus_per_worker, num_gpus=cluster.gpus_per_worker)
        if said := ray.get(probe.remote(each, plan.config.score.dtype)):
            raise CodeBlockError(said)


def _probe(asked: NeededModel, dtype: str) -> str | None:
    """What is wrong with a model; an exception would come with the traces of Ray."""
    from codeblock.core.models.causal import logit_head
    from codeblock.core.models.load import device, load_model
    from codeblock.train.driver import load_for_training

    try:
        if asked.train is None:
            logit_head(load_model(asked.model.path, asked.model.revision, dtype).to(device()))
        else:
            load_for_training(asked.model, asked.train).to(device())
    except CodeBlockError as error:
        return str(error)
    return None


def _asked(plan: Plan, until: str) -> Iterator[NeededModel]:
    """The models whose weights steps that are still to be done read, each once."""
    found: dict[ModelRef, NeededModel] = {}
    for model, train in _used(plan, until):
        if train is not None or model.ref not in found:
            found[model.ref] = NeededModel(model.ref, train)
    yield from found.values()


def _used(plan: Plan, until: str) -> Iterator[tuple[Model, TrainConfig | None]]:
    reads: list[tuple[Model, TrainConfig | None, list[Step | None]]] = []
    if until != "prepare":
        reads.append((plan.reference, None, [plan.pool_scored, plan.embedded, plan.scored]))
    for arm in plan.arms if until not in ("prepare", "score") else []:
        for each in arm.rounds:
            reads += [(column.model, None, [column.step]) for column in each.extra.values()]
            if until != "select":
                reads.append((each.start, each.train, [each.trained]))
        if until == "evaluate" and not arm.rounds:
            reads.append((plan.model, None, [*arm.generated.values(), *arm.reference_nll.values()]))
    for model, train, steps in reads:
        if not model.made_here and any(step is not None and step.facts is None for step in steps):
            yield model, train
