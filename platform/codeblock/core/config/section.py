"""What all sections of the configuration are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from codeblock.core.home import expand_home

TINY = "tiny"
"""Where a path of pairs, model or benchmark is asked for: the embedded default of `codeblock.tiny`."""


Place = Annotated[str, AfterValidator(expand_home)]
"""A path, URI or hub name out of a config."""
Directory = Annotated[Path, AfterValidator(lambda path: Path(expand_home(str(path))))]


def execution(default: Any, **constraints: Any) -> Any:
    """A field that decides how a run is carried out, not what it produces."""
    return Field(default, json_schema_extra={"execution": True}, **constraints)


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values are fixed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())

    def identity(self) -> dict[str, Any]:
        """The fields that decide what a stage produces."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if not (isinstance(extra := fields[name].json_schema_extra, dict) and extra.get("execution"))
        }
