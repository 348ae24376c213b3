"""The manifests as Kubernetes would read them, and KubeRay's own schemas made strict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

INFRA = Path(__file__).parents[2] / "infra"


def documents(path: Path) -> list[dict[str, Any]]:
    """All documents of a file."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def strict(node: Any) -> Any:
    """A structural schema of Kubernetes as a plain one, where a field that it does not know is an error.

    Kubernetes drops such a field without a word, so a misspelt one would only be missed.
    """
    if isinstance(node, list):
        return [strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("x-kubernetes-int-or-string"):
        node = {key: value for key, value in node.items() if key not in ("type", "anyOf")} | {"type": ["integer", "string"]}
    found = {
        key: {name: strict(value) for name, value in each.items()} if key == "properties" else strict(each)
        for key, each in node.items()
    }
    open_ended = found.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in found
    if "properties" in found and not open_ended:
        found["additionalProperties"] = False
    return found


@pytest.fixture(scope="session")
def ray_schema(real_data: Path) -> Any:
    """`ray_schema(kind)`: the strict schema of a kind of ray.io/v1."""
    directory = real_data / "kuberay"
    if not directory.is_dir():
        pytest.skip(f"no CRDs of KubeRay at {directory}; set CODEBLOCK_TEST_DATA")
    made: dict[str, Any] = {}

    def of(kind: str) -> Any:
        if kind not in made:
            text = (directory / f"ray.io_{kind.lower()}s.yaml").read_text(encoding="utf-8")
            versions = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]["versions"]
            schema = strict(next(each for each in versions if each["name"] == "v1")["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            made[kind] = schema
        return made[kind]

    return of
