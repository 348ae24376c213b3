"""The languages that have rules: add one by writing its rule file and naming it here."""

from __future__ import annotations

from codeblock.segmentation.languages import (
    bash,
    c,
    cpp,
    csharp,
    go,
    java,
    javascript,
    kotlin,
    php,
    python,
    ruby,
    rust,
    typescript,
)
from codeblock.segmentation.languages.rules import LanguageRules

ALL: tuple[LanguageRules, ...] = (
    python.RULES,
    javascript.RULES,
    java.RULES,
    c.RULES,
    cpp.RULES,
    typescript.RULES,
    typescript.TSX,
    csharp.RULES,
    php.RULES,
    go.RULES,
    rust.RULES,
    ruby.RULES,
    bash.RULES,
    kotlin.RULES,
)
"""Where two languages take an untagged text equally well, the first is meant."""

_BY_NAME = {name: rules for rules in ALL for name in (rules.name, *rules.aliases)}


def find_rules(language: str | None) -> LanguageRules | None:
    """The rules of a language by its name or an alias, in any case; None where there are none."""
    return _BY_NAME.get(language.strip().lower()) if language else None


__all__ = ["ALL", "LanguageRules", "find_rules"]
