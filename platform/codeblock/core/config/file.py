"""Reads a config: defaults, then the YAML file, then `section.key=value`. Every mistake is one line that names the key."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from codeblock.core.config import ArmConfig, Config, SelectConfig, yaml_text
from codeblock.core.config.pairs import ONE, SEVERAL, PairsConfig, PairsSource
from codeblock.core.errors import CodeBlockError
from codeblock.core.home import expand_home
from codeblock.core.storage import store
from codeblock.core.storage.places import place_of

_PATHS = re.compile(
    r"storage|model\.path|score\.(second_)?model|pairs\.path(\.\d+(\.path)?)?|evaluate\.(benchmarks|pythons)\.\w+"
)
"""Keys whose values are paths."""


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """The config of a file and of overrides such as `train.steps=200`; values of overrides are YAML.

    Raises CodeBlockError for a missing file, invalid YAML, unknown keys, wrong types and impossible values.
    """
    values = _merge(Config().model_dump(mode="json"), _read(path) if path else {})
    for override in overrides:
        _apply(values, override)
    return _validated(values, path)


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The config with other values at dotted keys, checked as a whole. Raises CodeBlockError as `load_config` does."""
    changed = config.model_dump(mode="json")
    for key, value in values.items():
        *path, last = key.split(".")
        place: Any = changed
        for name in path:
            place = place.setdefault(name, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise CodeBlockError(f"{key}: no key of a config; write section.key, such as train.learning_rate")
        place[last] = value
    return _validated(changed, None)


def _validated(values: dict[str, Any], path: Path | None) -> Config:
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise CodeBlockError(_explain(error.errors()[0], path)) from error
    for arm in config.arms:
        try:
            config.settings_of(arm)
        except ValidationError as error:
            first: dict[str, Any] = {**error.errors()[0]}
            place = ("arms", arm, "select", *first["loc"])
            raise CodeBlockError(_explain({**first, "loc": place}, path)) from error
    return config


def dump_config(config: Config) -> str:
    """The whole config as YAML, defaults included."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml_text.parse(store.read_text(place_of(path)))  # best.yaml of a sweep may be in a store
    except (OSError, UnicodeDecodeError) as error:
        raise CodeBlockError(f"config {path}: cannot be read ({error}); the shipped ones are in configs/") from error
    except yaml.YAMLError as error:
        raise CodeBlockError(f"config {path}: {yaml_text.problem(error)}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise CodeBlockError(f"config {path}: sections expected (pairs:, train: ...), {type(values).__name__} found")
    return values


def _merge(defaults: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Sections are filled up with defaults; tables that the user names (arms, benchmarks, columns) stand as they are."""
    merged = dict(defaults)
    for key, value in values.items():
        section = _model_of(Config, key)
        merged[key] = {**defaults[key], **value} if section and isinstance(value, dict) else value
    return merged


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise CodeBlockError(f"override {override!r}: write section.key=value, such as train.steps=200")
    *path, last = key.split(".")
    place: Any = values
    for depth, name in enumerate(path):
        at = _entry(place, name, override)
        place = place.setdefault(at, {}) if isinstance(place, dict) else place[at]
        if not isinstance(place, dict | list):
            raise CodeBlockError(f"override {override!r}: {'.'.join(path[: depth + 1])} is a value, not a section")
    place[_entry(place, last, override)] = _value(key, text, override)


def _value(key: str, text: str, override: str) -> Any:
    """The value of an override: YAML, but for a path, whose signs mean nothing in YAML (`*.jsonl`, `data [v2]`, `run #1`)."""
    value: Any = text
    try:
        value = yaml_text.parse(text)
    except yaml.YAMLError as error:
        if not _is_path(key, text):
            raise CodeBlockError(f"override {override!r}: {yaml_text.problem(error)}") from error
    return text if isinstance(value, str | list | dict) and _is_path(key, text) else value


def _is_path(key: str, text: str) -> bool:
    if _PATHS.fullmatch(key) is None or not text:
        return False
    return text[0] not in "[{\"'" or Path(expand_home(text)).exists()


def _entry(place: dict[str, Any] | list[Any], name: str, override: str) -> Any:
    """The key in a section, or the number of an entry of a list (`pairs.path.0`)."""
    if isinstance(place, dict):
        return name
    if name.isdecimal() and int(name) < len(place):
        return int(name)
    raise CodeBlockError(f"override {override!r}: {name} is no entry of this list; its entries are 0 to {len(place) - 1}")


def _explain(error: Any, path: Path | None) -> str:
    loc = [part for part in error["loc"] if part not in (ONE, SEVERAL)]
    key = ".".join(str(part) for part in loc)
    where = f"config {path}: " if path else "config: "
    if error["type"] == "extra_forbidden":
        entry = next((str(part) for part in loc if isinstance(part, int)), "0")
        known = list(_keys(Config, entry, _arm_of(loc)))
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "see configs/ for examples"
        return f"{where}{key}: unknown key; {hint}"
    message = error["msg"].removeprefix("Value error, ")
    if not key or key in message or error["type"] == "value_error":
        return f"{where}{message}" if key in message or not key else f"{where}{key}: {message}"
    return f"{where}{key}: {message[0].lower()}{message[1:]} (found {error['input']!r:.60})"


def _arm_of(loc: Sequence[Any]) -> str:
    return str(loc[1]) if len(loc) > 1 and loc[0] == "arms" else "codeblock"


def _keys(model: type[BaseModel], entry: str, arm: str, prefix: str = "") -> Iterator[str]:
    """All keys; `entry` stands for the number of a data set in a list, `arm` for an arm's name."""
    for name in model.model_fields:
        yield prefix + name
        inner = _model_of(model, name)
        if inner:
            yield from _keys(inner, entry, arm, f"{prefix}{name}.")
        if model is PairsConfig and name == "path":
            yield from _keys(PairsSource, entry, arm, f"{prefix}{name}.{entry}.")
        if name == "arms":
            yield from (f"arms.{arm}.{field}" for field in ArmConfig.model_fields)
            yield from (f"arms.{arm}.select.{field}" for field in SelectConfig.model_fields)


def _model_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The section behind a field, if it is one."""
    field = model.model_fields.get(name)
    if field is None:
        return None
    annotation = field.annotation
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return next((kind for kind in options if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
