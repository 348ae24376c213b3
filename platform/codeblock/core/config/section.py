"""What all sections of the configuration are made of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from codeblock.core.home import expand_home
from codeblock.core.storage.places import check_scheme, check_stored, place, show

TINY = "tiny"
"""Where a path of pairs, model or benchmark is asked for: the embedded default of `codeblock.tiny`."""


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def check_name(name: str) -> str:
    """The name itself. Raises ValueError where directories, and MLflow's runs and models, could not be called by it."""
    if not _NAME.fullmatch(name):
        allowed = "letters (A-Z, a-z), digits, `_`, `-` and `.`, first a letter, a digit or `_`"
        raise ValueError(f"{name!r} cannot stand for a directory or in MLflow; write {allowed}")
    return name


def _filled(value: Any) -> Any:
    if value is None or not str(value).strip():
        raise ValueError("is empty; name a path, or leave the key out for its default")
    return value


def _directory(value: Any) -> Path:
    return place(expand_home(str(_filled(value))))


Name = Annotated[str, AfterValidator(check_name)]
"""What directories, and MLflow's runs and models, are called by."""
Place = Annotated[str, BeforeValidator(_filled), AfterValidator(expand_home), AfterValidator(check_scheme)]
"""A path, URI or hub name out of a config."""
StoredPlace = Annotated[str, BeforeValidator(_filled), AfterValidator(expand_home), AfterValidator(check_stored)]
"""A path, the URL of one in an object store, or a hub name."""
Directory = Annotated[Path, BeforeValidator(_directory), PlainSerializer(show, str)]
"""A directory, or the URL of one in an object store."""


Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What NumPy and torch both take."""


def execution(default: Any, **constraints: Any) -> Any:
    """A field that decides how a run is carried out, not what it produces."""
    return Field(default, json_schema_extra={"execution": True}, **constraints)


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values are fixed after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )

    def without_effect(self) -> set[str]:
        """Fields that decide nothing as the others stand; they count as their defaults."""
        return set()

    def identity(self) -> dict[str, Any]:
        """The fields that decide what a stage produces."""
        fields = type(self).model_fields
        defaults = {name: fields[name].get_default(call_default_factory=True) for name in self.without_effect()}
        return {
            name: value
            for name, value in self.model_copy(update=defaults).model_dump(mode="json").items()
            if not (isinstance(extra := fields[name].json_schema_extra, dict) and extra.get("execution"))
        }
