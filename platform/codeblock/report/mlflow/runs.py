"""What is logged: one parent run for a comparison, one child run per arm.

Only `MlflowClient` is used: the fluent API keeps its active run inside the process, so it neither reaches Ray's
actors nor keeps out of a run that the user has open. A child names its parent by the tag `mlflow.parentRunId`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import yaml
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from codeblock.core.config import Config, TrackConfig
from codeblock.core.schema import TokenClass
from codeblock.core.storage.leases import is_dead, process_note
from codeblock.report.mlflow.store import clear_errors, connect, tracking_uri

PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"
IDENTITY_TAG = "codeblock.identity"
ARM_TAG = "codeblock.arm"
SEED_TAG = "codeblock.seed"
PROCESS_TAG = "codeblock.process"
"""Which process writes a run, for others to see whether it lives."""
KIND_TAG = "codeblock.kind"
"""What a run is: a `run` or a `sweep`, an `arm` or a `trial`."""
MODEL_ARTIFACT = "model"

SYSTEM = "system/"
MACHINE = re.compile(r"(seconds|_mb|_per_second|world_size)$")
"""Names of figures that say more of the machine than of what was found."""

METRICS_PER_CALL = 1000
PARAMS_PER_CALL = 100
PARAM_CHARACTERS = 6000
KEY_CHARACTERS = 250

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]
Params = Mapping[str, Any]


class Tracker:
    """The runs of one experiment. Run ids are plain strings, so they travel to other processes."""

    def __init__(self, config: TrackConfig, storage: Path) -> None:
        """Connect. Raises CodeBlockError, as does every method, where the store cannot be reached or written."""
        self.uri = tracking_uri(config, storage)
        self.client, self.experiment_id = connect(config, storage)

    def start_parent(
        self, name: str, config: Config, fingerprints: Params, identity: str = "", tags: Mapping[str, str] | None = None
    ) -> str:
        """Open a run with the whole config as params and as `config.yaml`; returns its id. `finish` closes it."""
        values = config.model_dump(mode="json")
        params = {**flatten(values), **{f"fingerprint.{key}": value for key, value in fingerprints.items()}}
        with clear_errors(self.uri):
            own = {PROCESS_TAG: json.dumps(process_note()), **({IDENTITY_TAG: identity} if identity else {})}
            run_id = self._create(name, {**own, **(tags or {})})
            self._log_params(run_id, params)
            self.client.log_text(run_id, yaml.safe_dump(values, sort_keys=False), "config.yaml")
        return run_id

    def start_arm(self, parent: str, arm: str, identity: str, arm_name: str | None = None, seed: int | None = None) -> str:
        """Open a child of `parent` for one arm or trial; returns its id. `log_arm` fills it and `finish` closes it.

        arm: names the run; `arm_name`, where it differs, and `seed` are tags to group the runs of an arm by.
        identity: what `already_logged` finds it by.
        """
        tags = {PARENT_TAG: parent, ARM_TAG: arm_name or arm, IDENTITY_TAG: identity}
        if seed is not None:
            tags[SEED_TAG] = str(seed)
        with clear_errors(self.uri):
            return self._create(arm, tags)

    def start_trial(self, parent: str, name: str, tags: Mapping[str, str], params: Params) -> str:
        """Open a child of `parent` for one trial of a sweep, with its values as params; returns its id."""
        with clear_errors(self.uri):
            run_id = self._create(name, {PARENT_TAG: parent, **tags})
            self._log_params(run_id, params)
        return run_id

    def log_inputs(self, run_id: str, inputs: Sequence[tuple[str, str, str]]) -> None:
        """Say which data sets a run was trained on: name, digest and place of each."""
        told = [
            DatasetInput(Dataset(name, digest[:36], "local", source), [InputTag("mlflow.data.context", "training")])
            for name, digest, source in inputs
        ]
        with clear_errors(self.uri):
            self.client.log_inputs(run_id, told)

    def register(self, name: str, run_id: str, model: Path, tags: Mapping[str, str]) -> None:
        """Put a model beside its run and into the registry, as the next version of `name`."""
        with clear_errors(self.uri):
            self.client.log_artifacts(run_id, str(model), MODEL_ARTIFACT)
            with suppress(MlflowException):  # it is there already
                self.client.create_registered_model(name)
            source = f"{self.client.get_run(run_id).info.artifact_uri}/{MODEL_ARTIFACT}"
            self.client.create_model_version(name, source, run_id, tags=dict(tags))

    def log_rows(self, run_id: str, history: Sequence[Mapping[str, Any]] = (), dev: Sequence[Mapping[str, Any]] = ()) -> None:
        """Log points of curves.

        history: rows of `step` and numbers (loss in nats per supervised token, lr, ...), logged as `train/<name>`.
        dev: rows of `step`, `token_class`, `supervised`, `nll` (nats per token), logged as
            `dev_nll/<class>/<supervised|unsupervised>`.
        """
        with clear_errors(self.uri):
            self._log_metrics(run_id, [*_history_points(history), *_dev_points(dev)])

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log numbers of one step, or without one."""
        with clear_errors(self.uri):
            self._log_metrics(run_id, [(name, value, step) for name, value in metrics.items()])

    def log_arm(
        self,
        run_id: str,
        *,
        params: Params,
        metrics: Mapping[str, float],
        verdicts: Mapping[str, pa.Table] | None = None,
        artifacts: Sequence[Path] = (),
    ) -> None:
        """Log what one arm or trial has come to.

        params: nested mappings are flattened; a value over MLflow's limit is cut, and stands whole in `params.yaml`.
        metrics: numbers without a step (see `pass_metrics`).
        verdicts: one table per benchmark, one row per sample.
        artifacts: files and directories.
        """
        with clear_errors(self.uri):
            self._log_params(run_id, flatten(params))
            self.client.log_text(run_id, yaml.safe_dump(_plain(params), sort_keys=False), "params.yaml")
            self._log_metrics(run_id, [(name, value, 0) for name, value in metrics.items()])
            for benchmark, table in (verdicts or {}).items():
                self.client.log_table(run_id, table.to_pydict(), f"verdicts/{metric_name(benchmark)}.json")
            self._log_paths(run_id, artifacts)

    def log_summary(
        self, run_id: str, markdown: str, artifacts: Sequence[Path] = (), metrics: Mapping[str, float] | None = None
    ) -> None:
        """Show a text (the table of arms) on the run's overview page, and keep the files and numbers with it."""
        with clear_errors(self.uri):
            self.client.set_tag(run_id, NOTE_TAG, markdown)
            self._log_metrics(run_id, [(name, value, 0) for name, value in (metrics or {}).items()])
            self._log_paths(run_id, artifacts)

    def finish(self, run_id: str, status: RunStatus = "FINISHED", error: str = "") -> None:
        """Close a run; `error` is shown on its overview page."""
        with clear_errors(self.uri):
            if error:
                self.client.set_tag(run_id, NOTE_TAG, error)
            self.client.set_terminated(run_id, status)

    def close_dead(self) -> None:
        """Close as KILLED, with their children, the runs whose process on this machine ended without doing so."""
        running = "attributes.status = 'RUNNING'"
        with clear_errors(self.uri):
            for run in self.client.search_runs([self.experiment_id], running):
                if not is_dead(json.loads(run.data.tags.get(PROCESS_TAG, "{}"))):
                    continue
                of_it = f"tags.`{PARENT_TAG}` = '{run.info.run_id}' and {running}"
                for each in (*self.client.search_runs([self.experiment_id], of_it), run):
                    self.client.set_terminated(each.info.run_id, "KILLED")
                self.client.set_tag(
                    run.info.run_id, NOTE_TAG, "**interrupted**: its process ended before it could close this run"
                )

    def already_logged(self, identity: str) -> str | None:
        """Id of the finished run with this identity, the newest where there are several."""
        wanted = f"tags.`{IDENTITY_TAG}` = '{identity}' and attributes.status = 'FINISHED'"
        with clear_errors(self.uri):
            found = self.client.search_runs([self.experiment_id], wanted, max_results=1)
        return str(found[0].info.run_id) if found else None

    def _create(self, name: str, tags: dict[str, str]) -> str:
        run = self.client.create_run(self.experiment_id, tags=resolve_tags(tags), run_name=name)
        return str(run.info.run_id)

    def _log_params(self, run_id: str, params: Params) -> None:
        entries = [Param(metric_name(key)[:KEY_CHARACTERS], _text(value)) for key, value in params.items()]
        for start in range(0, len(entries), PARAMS_PER_CALL):
            self.client.log_batch(run_id, params=entries[start : start + PARAMS_PER_CALL])

    def _log_metrics(self, run_id: str, points: Sequence[tuple[str, float, int]]) -> None:
        now = int(time.time() * 1000)
        entries = [Metric(metric_name(name), float(value), now, step) for name, value, step in points]
        for start in range(0, len(entries), METRICS_PER_CALL):
            self.client.log_batch(run_id, metrics=entries[start : start + METRICS_PER_CALL])

    def _log_paths(self, run_id: str, paths: Sequence[Path]) -> None:
        """Log files and directories, without hidden files: an equal run may be writing its own pages there."""
        for path in paths:
            for file in sorted(path.rglob("[!.]*")) if path.is_dir() else [path]:
                if file.is_dir():
                    continue
                place = file.relative_to(path.parent).parent.as_posix()
                self.client.log_artifact(run_id, str(file), None if place == "." else place)


def pass_metrics(benchmark: str, rates: Mapping[int, tuple[float, float, float]], tasks: int) -> dict[str, float]:
    """Metrics of one benchmark: the number of tasks graded, and pass@k with the ends of its 95% interval by k."""
    metrics = {f"tasks/{benchmark}": float(tasks)}
    for k, (rate, low, high) in rates.items():
        name = f"pass_at_{k}/{benchmark}"
        metrics.update({name: rate, f"{name}_low": low, f"{name}_high": high})
    return metrics


def in_groups(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics, those of the machine (times, memory, speed) as `system/<name>`: MLflow shows that group apart, and last."""
    return {f"{SYSTEM}{name}" if MACHINE.search(name) else name: value for name, value in metrics.items()}


def metric_name(name: str) -> str:
    """The name with what MLflow forbids in it replaced: `humaneval+` becomes `humanevalplus`, other signs become `_`."""
    return re.sub(r"[^\w./ :-]", "_", name.replace("+", "plus"))


def flatten(values: Params, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; an empty mapping stays a value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _plain(value: Any) -> Any:
    """What YAML can write: mappings, lists and scalars, text for everything else."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(_plain(value), ensure_ascii=False)
    return text if len(text) <= PARAM_CHARACTERS else text[: PARAM_CHARACTERS - 1] + "…"


def _history_points(history: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float, int]]:
    for row in history:
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                yield f"train/{name}", value, int(row["step"])


def _dev_points(dev: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float, int]]:
    for row in dev:
        kind = row["token_class"]
        token_class = kind if isinstance(kind, str) else TokenClass(kind).name.lower()
        side = "supervised" if row["supervised"] else "unsupervised"
        yield f"dev_nll/{token_class}/{side}", row["nll"], int(row["step"])
