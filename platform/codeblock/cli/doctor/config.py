"""What would stop a config, on this machine or on the cluster of this process: one line a check, with its remedy."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from codeblock.cli.doctor.machine import PACKAGES, Check, checks, guarded
from codeblock.cli.doctor.nodes import NodeReport, versions
from codeblock.core.capacity import LOWER, Capacity
from codeblock.core.config import TINY, Config
from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import places
from codeblock.experiment.cache import probe_storage

if TYPE_CHECKING:
    from codeblock.data.read.files import DataSet

CALLER = "CODEBLOCK_CALLER_VERSIONS"
"""Variable of a job with the versions of the machine that submitted it, as JSON."""


def config_checks(config: Config) -> list[Check]:
    """All checks of a config. Where the process is a job's, or a cluster's address is set, the cluster is asked too."""
    own = [_with_remedy(check) for check in checks(config.storage) if check.name not in ("python", *PACKAGES)]
    return [
        guarded("versions", _versions),
        *own,
        guarded("data", partial(_data, config)),
        guarded("model", partial(_model, config)),
        guarded("benchmarks", partial(_benchmarks, config)),
        guarded("mlflow", partial(_tracking, config)),
        *_of_resources(config),
    ]


def _storage(config: Config) -> str:
    """The storage as every node is asked for it: a whole path, for workers have a working directory of their own, or a URL."""
    return places.show(config.storage.absolute())


def _probed(config: Config) -> str:
    """Where every node tries whether it can write: the storage, or where it is to be made."""
    storage = config.storage
    return places.show(storage) if places.is_remote(storage) else str(places.nearest(storage.absolute()))


def _with_remedy(check: Check) -> Check:
    if check.ok or check.name != "disk":
        return check
    return replace(check, detail=f"{check.detail}; free space there or name another storage=DIR")


def _of_resources(config: Config) -> list[Check]:
    from codeblock.core.cluster import address_of, ray_session

    if address_of(config.cluster) is None:
        return [
            guarded("resources", partial(fits, config, _of_machine())),
            guarded("memory", partial(_memory, config, _machine_memory())),
        ]
    try:
        with ray_session(config.cluster):
            from codeblock.cli.doctor.grading import grading_checks
            from codeblock.cli.doctor.nodes import ask_nodes
            from codeblock.core.capacity import capacity

            probe_storage(config.storage)
            found, nodes, grading = capacity(), ask_nodes(_probed(config)), grading_checks(config)
    except CodeBlockError as error:
        return [Check("cluster", False, str(error))]
    return [
        *(_of_node(node, _storage(config)) for node in nodes),
        *grading,
        guarded("same versions", partial(same_versions, nodes)),
        guarded("resources", partial(fits, config, found)),
        guarded("memory", partial(_memory, config, _nodes_memory(config, nodes))),
    ]


def fits(config: Config, found: Capacity) -> str:
    """What the cluster has. Raises CodeBlockError where workers or actors can never fit it."""
    asked = config.cluster
    for what, count in (("train", asked.train_workers), ("score and generate", asked.actors)):
        if misfit := found.misfit(what, count, asked.cpus_per_worker, asked.gpus_per_worker):
            raise CodeBlockError(f"{misfit}; {LOWER}")
    each = f"{asked.cpus_per_worker:g} CPU, {asked.gpus_per_worker:g} GPU"
    return f"{found.told()}; asked: {asked.train_workers} workers, then {asked.actors} actors, each {each}"


def same_versions(nodes: Sequence[NodeReport]) -> str:
    """One line where all nodes, and the machine that submitted the job, have the same. Raises CodeBlockError where not."""
    sides = {node.name: node.versions for node in nodes if node.versions}
    if caller := os.environ.get(CALLER):
        sides = {"here": json.loads(caller), **sides}
    names = sorted({name for side in sides.values() for name in side})
    differing = []
    for name in names:
        by_version: dict[str, list[str]] = {}
        for side, found in sides.items():
            by_version.setdefault(found.get(name) or "missing", []).append(side)
        if len(by_version) > 1:
            differing.append(
                f"{name} " + " but ".join(f"{version} on {', '.join(where)}" for version, where in by_version.items())
            )
    if differing:
        raise CodeBlockError(f"{'; '.join(differing)}; build the image and this environment from the same constraints.txt")
    return f"{len(sides)} sides agree" if len(sides) > 1 else "one node"


def _versions() -> str:
    found = versions()
    if missing := [name for name, version in found.items() if not version]:
        raise CodeBlockError(f"{', '.join(missing)} missing; install with `pip install -c constraints.txt codeblock`")
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _data(config: Config) -> str:
    from codeblock.data.read.files import data_sets

    if config.pairs.path == TINY:
        return "tiny, made in the run"
    return ", ".join(f"{each.source.path}: {_found(each)}" for each in data_sets(config.pairs))


def _found(data_set: DataSet) -> str:
    """What is there of a data set. Raises CodeBlockError where it is not there, and OSError where it cannot be read."""
    from codeblock.data.read.files import check_hub_dataset

    if data_set.source.path == TINY:
        return "made in the run"
    if not data_set.files:
        check_hub_dataset(data_set.source.path, data_set.source.revision)
        return "a dataset of the hub"
    first = data_set.files[0]
    with first.filesystem.open(first.path, "rb") as stream:
        stream.read(1)
    return f"{len(data_set.files)} file{'s' if len(data_set.files) > 1 else ''}"


def _model(config: Config) -> str:
    from codeblock.core.models.files import check_files
    from codeblock.core.models.load import load_tokenizer

    named = [config.model.path, config.score.model, config.score.second_model]
    paths = {path for path in named if path and path != TINY and not path.startswith("arm:")}
    for path in sorted(paths):
        check_files(path, config.model.revision if path == config.model.path else None)
    if config.model.path == TINY:
        return "tiny, made in the run"
    load_tokenizer(config.model.path, config.model.revision)
    return ", ".join(sorted(paths))


def _benchmarks(config: Config) -> str:
    from codeblock.evaluate.benchmarks import load

    named = {name: place for name, place in config.evaluate.benchmarks.items() if place != TINY}
    for name, place in named.items():
        load(name, place, 1)
    return ", ".join(config.evaluate.benchmarks) or "none"


def _tracking(config: Config) -> str:
    from codeblock.report.mlflow.store import probe_tracking, tracking_uri, without_password

    probe_tracking(config.track, config.storage)
    return without_password(tracking_uri(config.track, config.storage))


def _of_node(node: NodeReport, storage: str) -> Check:
    if node.storage:
        remedy = "mount it on every node, or name an object store"
        return Check(f"node {node.name}", False, f"storage={storage}: {node.storage}; {remedy}")
    gpus = ", ".join(f"{mib / 1024:.0f} GiB" for mib in node.gpus_mib) or "none"
    return Check(
        f"node {node.name}", True, f"reads and writes the storage; {node.memory_mib / 1024:.0f} GiB of memory; GPUs: {gpus}"
    )


def _of_machine() -> Capacity:
    from codeblock.cli.doctor.nodes import gpus_mib

    there = {"CPU": float(os.cpu_count() or 1), "GPU": float(len(gpus_mib()))}
    return Capacity(there, there, (there,))


def _machine_memory() -> float | None:
    import psutil

    from codeblock.cli.doctor.nodes import gpus_mib

    return min(gpus_mib(), default=psutil.virtual_memory().total / 2**20)


def _nodes_memory(config: Config, nodes: Sequence[NodeReport]) -> float | None:
    """MiB that one worker can have: of the smallest GPU, or of a node without one; None where no such node is there yet."""
    if config.cluster.gpus_per_worker:
        return min((mib for node in nodes for mib in node.gpus_mib), default=None)
    return min((node.memory_mib for node in nodes if node.memory_mib), default=None)


def _memory(config: Config, have_mib: float | None) -> str:
    """The estimate of a training worker against what one can have."""
    from codeblock.core.models.load import context_length
    from codeblock.train.footprint import footprint, shape_of

    if config.model.path == TINY:
        return "the tiny model fits anywhere"
    if not any(arm.strategy for arm in config.arms.values()):
        return "no arm is trained"
    shape = shape_of(config.model.path, config.model.revision, config.train)
    longest = config.model.max_length or context_length(config.model.path, config.model.revision) or 0
    tokens = max(config.train.micro_batch_tokens, longest)
    need = footprint(shape, config.train, tokens, config.cluster.train_workers).gib
    told = (
        f"training takes about {need:.1f} GiB a worker ({shape.parameters / 1e9:.2f}B parameters, {config.train.mode}, "
        f"{config.train.dtype}, {tokens:,} tokens at once)"
    )
    if have_mib is None:
        return f"{told}; no node with a GPU is up to hold it against"
    if need > have_mib / 1024:
        raise CodeBlockError(f"{told}, a worker here has {have_mib / 1024:.0f} GiB; {_smaller(config)}")
    return f"{told} of {have_mib / 1024:.0f} GiB"


def _smaller(config: Config) -> str:
    ways = []
    if config.train.mode == "full":
        ways.append("train.mode=lora" if config.train.shard else "train.mode=lora or, over several workers, train.shard=true")
    if config.train.dtype == "float32":
        ways.append("train.dtype=bfloat16")
    if not config.train.gradient_checkpointing:
        ways.append("train.gradient_checkpointing=true")
    ways.append("a smaller train.micro_batch_tokens")
    return f"set {', '.join(ways)}"
