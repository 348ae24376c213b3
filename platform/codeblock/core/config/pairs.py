"""The section `pairs` of the configuration: one data set, or several that are joined."""

from __future__ import annotations

import difflib
from collections import Counter
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator

from codeblock.core.config.section import TINY, Place, Section


def _known_columns(columns: dict[str, str] | None) -> dict[str, str] | None:
    for name in columns or {}:
        if name not in PAIR_COLUMNS:
            near = difflib.get_close_matches(name, PAIR_COLUMNS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PAIR_COLUMNS)}"
            raise ValueError(f"{name}: unknown key; {hint}")
    return columns


PAIR_COLUMNS = ("instruction", "input", "response", "messages", "system", "history", "tools", "thought", "images", "quality")
Columns = Annotated[dict[str, str], AfterValidator(_known_columns)]


class PairsSource(Section):
    """One of several data sets that are joined."""

    path: Place
    """As `pairs.path`."""
    name: str | None = Field(None, min_length=1)
    """What its pairs are counted under. Empty: the last part of the path, numbered where two would have the same."""
    columns: Columns | None = None
    """What its columns are called. Empty: `pairs.columns`."""
    split: str | None = None
    """Split of a Hugging Face dataset. Empty: `pairs.split`."""
    revision: str | None = None
    """Revision of a Hugging Face dataset. Empty: `pairs.revision`."""


ONE, SEVERAL = "<one>", "<several>"
"""The two shapes of `pairs.path`, as pydantic names them in the place of an error."""
Sources = Annotated[
    Annotated[Place, Tag(ONE)] | Annotated[list[PairsSource], Field(min_length=1), Tag(SEVERAL)],
    Discriminator(lambda value: SEVERAL if isinstance(value, list) else ONE),
]


class PairsConfig(Section):
    """Where the instruction-response pairs come from."""

    path: Sources = TINY
    """`tiny`, a file, a directory, a glob, any fsspec URI, or the name of a Hugging Face dataset. Or a list of these, joined in
    their order: each a path, or a mapping of `path`, `name`, `columns`, `split` and `revision` of its own. A pair that an
    earlier data set has is a duplicate; qualities are compared as they are, so they have to be on one scale."""
    split: str = "train"
    """Split of a Hugging Face dataset, of a folder that `save_to_disk` wrote, or of a JSON file with several lists of rows."""
    revision: str | None = None
    """Revision of a Hugging Face dataset."""
    columns: Columns = {}
    """What the columns are called here: keys `instruction`, `input`, `response`, `messages`, `system`, `history`, `tools`,
    `thought`, `images`, `quality`; values are names of columns in the data, or "" for one of the last six that is not to be
    read. Left out: the shape of each row is recognised."""
    system: str | None = None
    """System message put before every pair that has none."""
    limit: int | None = Field(None, ge=1)
    """Read at most this many rows: of all data sets together, the first ones first."""
    max_response_bytes: int = Field(1_000_000, ge=1)
    """A longer response is rejected (bytes of UTF-8)."""

    @field_validator("path", mode="before")
    @classmethod
    def _paths_are_sources(cls, path: Any) -> Any:
        if isinstance(path, dict):
            return [path]
        if not isinstance(path, list):
            return path
        for number, each in enumerate(path):
            if not isinstance(each, str | dict | PairsSource):
                raise ValueError(f"entry {number} is {each!r:.40}; a path or a mapping with a path is expected")
        return [{"path": each} if isinstance(each, str) else each for each in path]

    @field_validator("path")
    @classmethod
    def _names_differ(cls, path: str | list[PairsSource]) -> str | list[PairsSource]:
        names = Counter(source.name for source in path if isinstance(source, PairsSource) and source.name)
        if names and (twice := names.most_common(1)[0])[1] > 1:
            raise ValueError(f"two data sets are named {twice[0]!r}; give each its own name")
        return path
