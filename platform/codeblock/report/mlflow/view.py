"""Ready-made views of MLflow's page of runs: what opens is pass@1 by arm or by point, not a list to click through.

MLflow keeps a shared view as a tag of the experiment, in a format that it does not document. So it is written only for the
versions of MLflow that it was tried with (tests/report/mlflow/test_view.py, in a browser); for others the plain page of runs is told.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import mlflow
from mlflow import MlflowClient

from codeblock.report.mlflow.store import clear_errors, is_server

SHARED = "mlflow.sharedViewState."
NEWEST = "codeblock.view"
"""Tag of an experiment: the address of the view that was written last, and when."""
TRIED = ("3.17.",)
"""Versions of MLflow in which the format of views is what it is here."""
MOST_RUNS = 500
"""Runs that MLflow draws in a chart."""
UI = "http://127.0.0.1:5000"
"""Where `codeblock ui` listens unless told otherwise."""


@dataclass
class View:
    """A view of some runs of an experiment."""

    name: str
    where: str
    """MLflow's filter of runs."""
    first: str
    """The metric that comes first, by which runs are ordered, the highest first."""
    charts: list[dict[str, Any]] = field(default_factory=list)
    columns: Sequence[str] = ()
    """Such as "metrics.`pass_at_1/tiny`"."""
    group_by: str | None = None
    """Tag whose equal runs are one line, with the mean of their metrics."""

    def state(self) -> dict[str, Any]:
        """The view as MLflow's page takes it."""
        section = {"uuid": "codeblock", "name": self.name, "display": True, "isReordered": True, "deleted": False}
        shared = {"metricSectionId": "codeblock", "deleted": False, "isGenerated": False, "runsCountToCompare": MOST_RUNS}
        keys = [{"mode": "tag", "groupByData": self.group_by}]
        return {
            "searchFilter": self.where,
            "orderByKey": f"metrics.`{self.first}`",
            "orderByAsc": False,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": list(self.columns),
            "columnOrder": list(self.columns),
            "columnWidths": {},
            "runsHiddenMode": "SHOW_ALL",
            "viewMaximized": False,
            "runListHidden": False,
            "useGroupedValuesInCharts": True,
            "hideEmptyCharts": True,
            "groupBy": {"aggregateFunction": "average", "groupByKeys": keys} if self.group_by else None,
            "groupsExpanded": {},
            "compareRunCharts": [{**shared, "uuid": f"chart-{n}", **chart} for n, chart in enumerate(self.charts)],
            "compareRunSections": [{**section, "isGenerated": False}],
            "isAccordionReordered": True,
            "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        }


def bar(metric: str, name: str) -> dict[str, Any]:
    """A bar for each run or group."""
    return {"type": "BAR", "displayName": name, "metricKey": metric}


def curve(metric: str, name: str) -> dict[str, Any]:
    """A metric over the steps."""
    return {
        "type": "LINE",
        "displayName": name,
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "lineSmoothness": 0,
        "range": {},
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def scatter(param: str, metric: str, name: str) -> dict[str, Any]:
    """A param against a metric."""
    return {
        "type": "SCATTER",
        "displayName": name,
        "xaxis": {"key": param, "type": "PARAM"},
        "yaxis": {"key": metric, "type": "METRIC"},
    }


def contour(first: str, second: str, metric: str, name: str) -> dict[str, Any]:
    """A metric over two params."""
    axes = {"xaxis": {"key": first, "type": "PARAM"}, "yaxis": {"key": second, "type": "PARAM"}}
    return {"type": "CONTOUR", "displayName": name, **axes, "zaxis": {"key": metric, "type": "METRIC"}}


def parallel(params: Sequence[str], metric: str, name: str) -> dict[str, Any]:
    """Params side by side, and a metric at the right."""
    shown = {"selectedParams": list(params), "selectedMetrics": [metric], "showAllRuns": True}
    return {"type": "PARALLEL", "displayName": name, **shown}


def save_view(client: MlflowClient, uri: str, experiment: str, key: str, view: View) -> str:
    """Keep a view under a key (letters and digits); returns its address below the server's, such as `#/experiments/1/...`.

    Raises CodeBlockError where the store cannot be written.
    """
    address, now = runs_page(experiment), int(time.time() * 1000)
    with clear_errors(uri):
        if mlflow.__version__.startswith(TRIED):
            packed = base64.b64encode(zlib.compress(json.dumps(view.state()).encode())).decode()
            told = {"name": view.name, "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}
            client.set_experiment_tag(experiment, f"{SHARED}{key}", json.dumps(told))
            address = f"{address}?viewStateShareKey={key}&compareRunsMode=CHART"
        client.set_experiment_tag(experiment, NEWEST, json.dumps({"address": address, "at": now}))
    return address


def runs_page(experiment: str) -> str:
    """The address of an experiment's plain page of runs."""
    return f"#/experiments/{experiment}/runs"


def view_key(parent: str) -> str:
    """The key of the view of a parent run."""
    return f"codeblock{parent[:12]}"


def of_parent(parent: str) -> str:
    """MLflow's filter of the runs below a parent."""
    return f"tags.`mlflow.parentRunId` = '{parent}'"


def newest_view(client: MlflowClient, uri: str) -> str | None:
    """The address of the view that was written last in any experiment; None where there is none."""
    with clear_errors(uri):
        tags = [each.tags[NEWEST] for each in client.search_experiments() if NEWEST in each.tags]
    found = [json.loads(tag) for tag in tags]
    return str(max(found, key=lambda each: each["at"])["address"]) if found else None


def shown_at(uri: str, address: str) -> str:
    """Where a browser finds an address: at the tracking server, or at the one that `codeblock ui` starts."""
    return f"{uri.rstrip('/') if is_server(uri) else UI}/{address}"
