"""The Ray cluster: start or join it, refuse what does not fit, map work over the parts of a table.

Ray Data waits for ever, without a word, where actors ask for more than the cluster has or hold every CPU. So each
request is held against the cluster before it starts, and the work items are paths (no read task can starve).
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeblock.core.capacity import LOWER, capacity
from codeblock.core.collecting import collect_again
from codeblock.core.config import ClusterConfig
from codeblock.core.console import counter
from codeblock.core.errors import CodeBlockError, Result, WorkersDiedError, result_or_told
from codeblock.core.own_process import begin, is_worker
from codeblock.core.quiet import QUIET, quiet_environment
from codeblock.core.sent_modules import sent
from codeblock.core.signals import kept
from codeblock.core.storage import store

if TYPE_CHECKING:
    import pyarrow as pa

ACTOR_LIMITS = {"max_restarts": 20, "max_task_retries": 5}
"""Deaths of one actor, and of actors over one part. Ray Data's own limits are none: a part that ends every process would be
tried for ever. A node that goes down counts as one death of each of its actors, so nodes may go down many times."""
TASK_LIMITS = {"max_retries": 5}
"""The same for tasks: deaths of processes, and of nodes, with the parts of one task."""


@contextmanager
def ray_session(config: ClusterConfig, sources: Mapping[str, Path] | None = None) -> Iterator[None]:
    """A Ray cluster for the length of the block; one that was running before goes on afterwards.

    sources: modules of the user's own that go to the nodes of a cluster that is joined (`sent_modules.sent`).
    """
    quiet_environment()
    import ray

    if ray.is_initialized():
        yield
        return
    address = address_of(config)
    try:
        with kept(), sent(sources if address and sources else {}) as modules:
            how = {"logging_level": logging.ERROR, "log_to_driver": True, "runtime_env": {**runtime_env(), **modules}}
            ray.init(address=address, **how)
    except (ConnectionError, ValueError) as error:
        raise CodeBlockError(f"cluster.address={address}: {unreachable(error)}") from error
    quiet_data()
    try:
        yield
    finally:
        with kept():
            ray.shutdown()


def address_of(config: ClusterConfig) -> str | None:
    """Address of the running cluster that a session joins; None where it starts one of this machine."""
    return config.address or os.environ.get("RAY_ADDRESS")


def runtime_env() -> dict[str, Any]:
    """What each worker process of a session is given: quiet libraries, as far as the user has not set them otherwise for this
    one, and the address of its own cluster.

    Without the variables that a submitted job sets itself: Ray refuses one that comes from both.
    """
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")).get("runtime_env") or {}
    variables = {key: os.environ.get(key, value) for key, value in QUIET.items() if key not in job.get("env_vars", {})}
    return {"env_vars": variables, "worker_process_setup_hook": "codeblock.core.ray_worker.begin_worker"}


def unreachable(error: Exception) -> str:
    """Why no cluster was joined, in one line, and the remedy."""
    reason = " ".join(str(error).split()).partition(" To fix this,")[0]
    if "HTTP address" in reason:
        return f"{reason} It is for `ray job submit`; name the head's own port here, HOST:6379"
    told = f"no Ray cluster answers there ({reason}); start one with `ray start --head`"
    if os.environ.get("RAY_AUTH_MODE") == "token":
        return told
    return f"{told}, or set RAY_AUTH_MODE=token where it asks for a token (RAY_AUTH_TOKEN, ~/.ray/auth_token)"


def quiet_data() -> None:
    """Results in order; one bar a stage in place of Ray Data's bar per operator, and no execution plans."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.print_on_execution_start = False
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors are raised as well


def preflight(config: ClusterConfig) -> None:
    """Refuse a config whose workers or actors can never fit, before any stage has begun."""
    require("train", config.train_workers, config.cpus_per_worker, config.gpus_per_worker)
    require("score and generate", config.actors, config.cpus_per_worker, config.gpus_per_worker)


def require(what: str, count: int, cpus: float, gpus: float) -> None:
    """Raise CodeBlockError where `count` workers of so many CPUs and GPUs each can never run all at once.

    A cluster that grows is taken at its largest; the work then waits for nodes to be started.
    """
    if misfit := capacity().misfit(what, count, cpus, gpus):
        raise CodeBlockError(f"{misfit}; {LOWER}")


def map_parts(
    work: Callable[[dict[str, Any]], dict[str, Any]] | type,
    items: Sequence[dict[str, Any]],
    *,
    what: str,
    actors: int | None = None,
    cpus: float = 1.0,
    gpus: float = 0.0,
    constructor: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Map `work` over `items` (one small dictionary each, such as the path of a part) with Ray Data; results in order.

    A class runs in a fixed pool of `actors`, built once each with `constructor`; a function runs in tasks, some items each.
    A process that is a worker itself (own_process.py) does it alone.

    Raises CodeBlockError where the pool does not fit the cluster, and the one that `work` raises; an OSError of `work` (a
    full disk) becomes one.
    """
    if is_worker():
        return _map_here(work, items, what, constructor or {})
    import ray.data

    if not items:
        return []
    require(what, min(actors or 1, len(items)), cpus, gpus)
    if isinstance(work, type):
        rows = ray.data.from_items(list(items), override_num_blocks=len(items))
        pool = ray.data.ActorPoolStrategy(size=min(actors or 1, len(items)))
        arguments = {"work": work, "constructor": constructor or {}}
        how = {"compute": pool, "num_cpus": cpus, "num_gpus": gpus}
        rows = with_limits(partial(rows.map, _ItemActor), ACTOR_LIMITS, fn_constructor_kwargs=arguments, **how)
    else:
        tasks = -(-len(items) // capacity().parts_per_task(len(items), cpus))
        rows = ray.data.from_items(list(items), override_num_blocks=tasks)
        call = named(partial(_calls, work), what)
        how = {"batch_size": None, "batch_format": "pyarrow", "num_cpus": cpus}
        rows = with_limits(partial(rows.map_batches, call), TASK_LIMITS, **how)
    rows.set_name(what.replace(" ", "_"))
    with deaths_told(what), without_restart_warning():
        return _collected(rows.iter_rows(), what, len(items))


def _map_here(
    work: Callable[[dict[str, Any]], dict[str, Any]] | type,
    items: Sequence[dict[str, Any]],
    what: str,
    constructor: dict[str, Any],
) -> list[dict[str, Any]]:
    """`map_parts` without Ray, one item after the other."""
    if not items:
        return []
    begin()
    call = _ItemActor(work, constructor) if isinstance(work, type) else partial(_call, work)
    return _collected(map(call, items), what, len(items))


def _collected(found: Iterable[dict[str, Any]], what: str, count: int) -> list[dict[str, Any]]:
    """The results as they come, counted. Raises CodeBlockError for the first that is an error."""
    results: list[dict[str, Any]] = []
    with counter(what, count) as advance:
        for result in found:
            if result.get("error"):
                raise CodeBlockError(f"{what}: {result['error']}")
            results.append(result)
            advance(1)
    return results


def _calls(work: Callable[[dict[str, Any]], dict[str, Any]], items: pa.Table) -> pa.Table:
    """The results of some items, or the first error."""
    import pyarrow as pa

    results: list[dict[str, Any]] = []
    for item in items.to_pylist():
        result = _call(work, item)
        if result.get("error"):
            return pa.Table.from_pylist([result])
        results.append(result)
    return pa.Table.from_pylist(results)


def _call(work: Callable[[dict[str, Any]], dict[str, Any]], item: dict[str, Any]) -> dict[str, Any]:
    try:
        return result_or_told(partial(work, item), lambda told: {"error": told})
    finally:
        collect_again()  # the first item has imported what the others need


def built(
    work: type, constructor: dict[str, Any], call: Callable[[Any, Any], Result], told: Callable[[str], Result]
) -> Callable[[Any], Result]:
    """`call` with `work` as an actor builds it once. Where that cannot be built (a model), each call gets what is `told` of
    the error: Ray would start the actor again and again."""

    def calling() -> Callable[[Any], Result]:
        return partial(call, work(**constructor))

    return result_or_told(calling, lambda line: lambda _: told(line))


class _ItemActor:
    def __init__(self, work: type, constructor: dict[str, Any]) -> None:
        self._answer = built(work, constructor, _call, lambda line: {"error": line})

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        return self._answer(item)


def named(work: Callable[[pa.Table], pa.Table], name: str) -> Callable[[pa.Table], pa.Table]:
    """The function under a name, by which Ray Data names the operator."""

    def call(table: pa.Table) -> pa.Table:
        return work(table)

    call.__name__ = call.__qualname__ = name
    return call


def peak_of(results: Sequence[dict[str, Any]]) -> float:
    """The largest `peak_mb` that a worker reported."""
    return round(max((result["peak_mb"] for result in results), default=0.0), 1)


def with_limits(mapped: Callable[..., Any], limits: Mapping[str, Any], **how: Any) -> Any:
    """A read or map of Ray Data whose actors or tasks may not die for ever."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of limits, which there is no other way to give
        return mapped(**how, **limits)


@contextmanager
def deaths_told(what: str) -> Iterator[None]:
    """Raise WorkersDiedError for a step whose processes die again and again."""
    from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, WorkerCrashedError

    try:
        yield
    except (RayActorError, WorkerCrashedError, OutOfMemoryError, NodeDiedError) as error:
        raise WorkersDiedError(
            f"{what}: worker processes died again and again ({type(error).__name__}), most often for want of memory: take "
            "smaller batches, fewer cluster.actors or larger nodes; Ray's lines above name the processes; what was finished is "
            "kept"
        ) from error


_FORWARD = """
import sys
for line in sys.stdin.buffer:
    if b"constructor arguments in the object store" not in line:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


@contextmanager
def without_restart_warning() -> Iterator[None]:
    """Keep one line off standard error: Ray warns of actors of its own making, pools and a watcher of fits, as if a user could
    mend it.

    The line is written by C++ code, so it has to be taken out of the file descriptor. A process of its own does it: what this
    one writes last, such as why it aborts, comes through all the same.
    """
    sys.stderr.flush()
    real = os.dup(2)
    forward = subprocess.Popen(
        [sys.executable, "-SE", "-c", _FORWARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=real,
        start_new_session=True,  # a Ctrl-C in the terminal is not for it
    )
    assert forward.stdin is not None
    os.dup2(forward.stdin.fileno(), 2)
    forward.stdin.close()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(real, 2)
        os.close(real)
        with suppress(subprocess.TimeoutExpired):  # a process that was started meanwhile may hold it open
            forward.wait(timeout=1.0)


def pending(paths: Sequence[Path], output: Path) -> list[Path]:
    """The parts without a counterpart of the same name in `output`: what an interrupted stage still has to do."""
    done = {path.name for path in store.children(output)}
    return [path for path in paths if path.name not in done]
