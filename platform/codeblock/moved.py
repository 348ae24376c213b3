"""Names that modules had before they moved into rooms: importing one works, with a DeprecationWarning that says the new one.

To be deleted with version 0.2. Imports the standard library alone: the sandbox's processes see this file too.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:  # it brings `tempfile` and `random`, which make every fork of the sandbox's helper slower
    from importlib.abc import Loader

ROOT = __name__.partition(".")[0]
MOVED = {
    "arms": "experiment.arms",
    "cache": "experiment.cache",
    "causal": "core.models.causal",
    "chat": "core.rendering.chat",
    "check_models": "experiment.check_models",
    "claims": "core.storage.claims",
    "cluster": "core.cluster",
    "config": "core.config",
    "config_file": "core.config.file",
    "config_pairs": "core.config.pairs",
    "config_section": "core.config.section",
    "config_select": "core.config.select",
    "console": "core.console",
    "cost": "experiment.cost",
    "differences": "experiment.differences",
    "doctor": "cli.doctor.machine",
    "draws": "core.draws",
    "errors": "core.errors",
    "evaluate.metrics": "core.metrics",
    "export": "report.export",
    "filter": "data.filter",
    "fingerprint": "experiment.fingerprint",
    "home": "core.home",
    "inspect": "experiment.inspect",
    "manifest": "core.storage.manifest",
    "markdown": "core.markdown",
    "memory": "core.memory",
    "model_config": "core.models.config",
    "model_errors": "core.models.errors",
    "model_files": "core.models.files",
    "models": "core.models.load",
    "notes": "experiment.notes",
    "padding": "core.models.padding",
    "pairs": "data.read",
    "pairs.json_values": "core.json_values",
    "plan": "experiment.plan",
    "prepare": "annotate.prepare",
    "prepare.guard": "annotate.prepare.crash_guard",
    "present": "cli.printing",
    "quality": "core.quality",
    "quiet": "core.quiet",
    "rank": "data.rank",
    "ray_worker": "core.ray_worker",
    "reach": "experiment.reach",
    "report.fate": "report.pages.item_outcome",
    "report.index": "report.pages.index",
    "report.layout": "report.pages.layout",
    "report.page": "report.pages.page",
    "report.sample": "report.pages.sample",
    "results": "experiment.results",
    "sandbox.box": "sandbox.sandbox",
    "sandbox.check": "sandbox.checker",
    "sandbox.ends": "sandbox.endpoints",
    "sandbox.helper": "sandbox.process",
    "sandbox.remote": "sandbox.proxy",
    "sandbox.root": "sandbox.rootfs",
    "sandbox.server": "sandbox.fork_server",
    "sandbox.solve": "sandbox.solution",
    "sandbox.unit": "sandbox.test_class",
    "sandbox.user": "sandbox.credentials",
    "sandbox.walls": "sandbox.isolation",
    "sandbox.wire": "sandbox.codec",
    "schema": "core.schema",
    "score": "annotate.score",
    "score.nll": "core.models.nll",
    "segment": "segmentation",
    "select": "selection",
    "select.shelf": "selection.candidates",
    "shares": "core.shares",
    "smollm2": "cli.smollm2",
    "spending": "experiment.spending",
    "summary": "experiment.summary",
    "tables": "core.storage.tables",
    "tokens": "core.rendering.tokens",
    "track": "report.mlflow",
    "tracking": "experiment.tracking",
    "turns": "core.rendering.turns",
}
"""Old names of modules and packages, and the new ones; the longest name counts."""
RENAMED = {"core.models.nll": {"token_nll": "response_nll"}}


def new_name(name: str) -> str | None:
    """The new name of a module that has moved; None for any other."""
    parts = name.split(".")
    for length in range(len(parts), 1, -1):
        if parts[0] == ROOT and (new := MOVED.get(".".join(parts[1:length]))):
            return ".".join([ROOT, new, *parts[length:]])
    return None


class _Moved(ModuleType):
    """A module by its old name."""

    def __getattr__(self, name: str) -> Any:
        module = self.__dict__.get("_module")
        if module is None or name.startswith("__"):
            raise AttributeError(name)
        return getattr(module, RENAMED.get(module.__name__.partition(".")[2], {}).get(name, name))

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """`codeblock.segment` and `codeblock.select` are functions now; importing a package of that name would hide them."""
        return getattr(self, self.__name__.rpartition(".")[2])(*arguments, **named)


class Finder:
    """Finds modules by their old names, where nothing else does."""

    def find_spec(self, name: str, *_: Sequence[str] | ModuleType | None) -> ModuleSpec | None:
        return ModuleSpec(name, cast("Loader", self), is_package=True) if new_name(name) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Moved(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        new = new_name(module.__name__)
        assert new is not None
        module.__dict__["_module"] = importlib.import_module(new)
        warnings.warn(f"{module.__name__} is {new} now", DeprecationWarning, stacklevel=2)
