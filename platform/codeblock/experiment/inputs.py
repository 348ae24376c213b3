"""What a config reads from outside: pairs, models and benchmarks, with the embedded default where it asks for that.

The one place that knows that `tiny` stands for the files of a step; all else asks here for paths and fingerprints.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from codeblock import tiny
from codeblock.core.config import TINY, Config
from codeblock.core.config.pairs import PairsSource
from codeblock.core.models.config import base_of
from codeblock.core.storage import places
from codeblock.data.read.files import DataSet, find_files, sources_of
from codeblock.evaluate.fingerprints import Fingerprints, fingerprints
from codeblock.experiment.arms import Model
from codeblock.experiment.cache import Step
from codeblock.experiment.fingerprint import model_fingerprint


@dataclass(frozen=True)
class Inputs:
    """The inputs of a config; `cache` remembers fingerprints."""

    config: Config
    cache: Path

    @cached_property
    def tiny(self) -> Step | None:
        """The embedded default, where something of it is asked for. Its key stands for its files: it reads but the seed."""
        config = self.config
        models = (config.model.path, config.score.model)
        if TINY not in {*self._paths, *models, *config.evaluate.benchmarks.values()}:
            return None
        return Step("tiny", "tiny", {"version": None, "seed": config.seed, **tiny.identity()}, self.cache)

    @property
    def starts_from_tiny(self) -> bool:
        """Whether pairs or models are the embedded ones; else of these only the benchmark is read, and by evaluation alone."""
        return TINY in {self.config.model.path, self.config.score.model, *self._paths}

    @property
    def data_sets(self) -> list[DataSet]:
        """The data sets that are joined, with their files."""
        return [
            DataSet(source, find_files(self._path(source.path, tiny.PAIRS_FILE), source.split))
            for source in sources_of(self.config.pairs)
        ]

    def pairs(self) -> list[dict[str, Any]]:
        """What decides the rows of each data set, in the order in which they are read."""
        return [
            {"name": source.name, "columns": source.columns, "split": source.split, "content": self._content(source)}
            for source in sources_of(self.config.pairs)
        ]

    def model(self, path: str, revision: str | None = None) -> Model:
        """The model at a path. Raises CodeBlockError where it is neither here nor reachable."""
        if path == TINY and self.tiny is not None:
            return Model(self._path(path, tiny.MODEL_DIRECTORY), None, self._told)
        path = places.local_path(path)
        fingerprint = model_fingerprint(path, revision, self.cache)
        return Model(path, revision, fingerprint, adapters=base_of(path, revision)[0] != path)

    def benchmark_path(self, name: str) -> str:
        """File of a benchmark's tasks."""
        return self._path(self.config.evaluate.benchmarks[name], tiny.BENCHMARK_FILE)

    def benchmark(self, name: str) -> Fingerprints:
        """What decides the steps that read a benchmark."""
        asked = self.config.evaluate
        path = asked.benchmarks[name]
        return Fingerprints.of(self._told) if path == TINY else fingerprints(name, path, asked.prompt)

    @property
    def decontaminated(self) -> list[str]:
        """Names of the benchmarks whose tasks pairs must not hold."""
        return sorted(name for name, path in self.config.evaluate.benchmarks.items() if path != TINY)

    @property
    def _paths(self) -> list[str]:
        return [source.path for source in sources_of(self.config.pairs)]

    @property
    def _told(self) -> str:
        assert self.tiny is not None
        return f"{TINY}:{self.tiny.key}"

    def _path(self, path: str, file: str) -> str:
        """The path itself, or that of a file of the embedded default."""
        return str(self.tiny.directory / file) if path == TINY and self.tiny is not None else path

    def _content(self, source: PairsSource) -> str:
        return self._told if source.path == TINY else DataSet(source, find_files(source.path, source.split)).fingerprint()
