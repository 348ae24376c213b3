"""What segmentation has to know of a language: tables of node types, no code."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Names = frozenset[str]


def names(words: str) -> Names:
    """A set of node types from one string."""
    return frozenset(words.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageRules:
    """One language. Node types and field names are those of its tree-sitter grammar."""

    name: str
    aliases: tuple[str, ...]
    """Other tags of fenced blocks that mean this language, lower case."""
    grammar: Callable[[], object]
    """The `language` function of the grammar's package."""

    # -- the flat tree
    punctuation: Names
    """Anonymous tokens that no rule needs; they are dropped while the tree is read."""
    identifier: str
    """Node type of a name."""
    string: str
    """Node type of a string literal; read as one leaf unless its prefix is in `interpolated`."""
    interpolated: tuple[bytes, ...]
    """Prefixes (lower case) of strings that hold code."""
    string_parts: Names
    """Node types inside an interpolated string that are read as leaves."""

    # -- items
    item_kinds: Mapping[str, str]
    """Kind of item by the node type of its statement; others are `other`."""
    statement_wrapper: str
    """Statement whose kind is that of its first child."""
    definition_wrapper: str
    """Statement that puts something before a definition and takes its kind (decorators)."""
    compound: Names
    """Statements with bodies, and their clauses: cut at the bodies where they are too large."""
    body: str
    """Node type of a body: a run of statements."""
    comment: str
    """Node type of a comment."""

    # -- core logic tokens
    core: Names
    """Named nodes that are core as a whole."""
    core_tokens: Names
    """Anonymous tokens that are core: operators and control keywords."""
    not_core: Names
    """Node types with nothing core inside."""
    not_core_names: frozenset[bytes]
    """Names that are not core."""
    not_core_first: Names
    """Node types whose first token is no operator (the `@` of a decorator)."""
    documented: Names
    """Node types whose body may begin with a docstring."""

    # -- data flow
    flow: Mapping[str, str]
    """Role in the data flow by node type; roles are the methods of `DefUse`, and those in `flow_rules`."""
    not_a_use: Names
    """Fields in which an identifier is not a use of a variable."""
    mutators: frozenset[bytes]
    """Methods that change their object, for the option `mutation_defines`."""

    # -- is an untagged text this language?
    impossible: tuple[re.Pattern[str], ...]
    """A text in which one of these is found surely has a syntax error; spares a slow parse."""
    impossible_unless: re.Pattern[str]
    """`impossible` beyond its first pattern does not hold in a text where this is found."""
    evidence: Names
    """A text that parses is this language only if it has one of these node types (named or anonymous)."""
    terminator: str
    """Lines that all end so are another language."""
    shape: re.Pattern[str]
    """Lines of this shape are this language even where the text does not parse."""
