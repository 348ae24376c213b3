"""What segmentation has to know of a language: tables of node types, no code."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from codeblock.core.schema import ItemKind
from codeblock.segmentation.respell import Respelling

Names = frozenset[str]

NEVER = re.compile(r"(?!)")
"""Matches nowhere."""


def names(words: str) -> Names:
    """A set of node types from one string."""
    return frozenset(words.split())


OPERATORS: Names = names(
    "+ - * / % ** ++ -- ! ~ & | ^ && || << >> >>> < > <= >= == != === !== = += -= *= /= %= **= &= |= ^= <<= >>= >>>= "
    "&&= ||= ?? ??= ?"
)
"""Operators that most languages with braces share."""


def kinds(**groups: str) -> Mapping[str, str]:
    """Node type -> kind of item, from one string of node types for each kind."""
    return {name: ItemKind[kind.upper()].value for kind, group in groups.items() for name in group.split()}


def roles(**groups: str) -> Mapping[str, str]:
    """Node type -> role in the data flow, from one string of node types for each role."""
    return {name: role for role, group in groups.items() for name in group.split()}


def wheel(package: str, function: str = "language") -> Callable[[], object]:
    """The `language` function of a grammar's package, which is imported when a text needs it.

    The function raises ImportError where the package is not installed.
    """

    def load() -> object:
        grammar: object = getattr(importlib.import_module(package), function)()
        return grammar

    return load


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageRules:
    """One language. Node types and field names are those of its tree-sitter grammar."""

    name: str
    aliases: tuple[str, ...]
    """Other tags of fenced blocks that mean this language, lower case."""
    grammar: Callable[[], object]
    """The `language` function of the grammar's package."""

    bare: LanguageRules | None = None
    """Rules for texts that `opening` does not match: the grammar for code without the tag that switches to it."""
    opening: re.Pattern[str] = NEVER

    misread: re.Pattern[str] = NEVER
    """White space (group 2, behind group 1) that the grammar takes for an error; it is parsed as line breaks."""

    has_magics: bool = False
    """Whether cells of notebooks may have lines of IPython in it."""

    # -- valid code that the grammar refuses
    respelled: tuple[Respelling, ...] = ()
    """Spellings that the grammar does not know, and what it is given in their place where a text does not parse."""
    preprocessed: bool = False
    """Whether a text that does not parse is read without its conditional directives too."""
    enclosures: tuple[tuple[bytes, bytes], ...] = ()
    """What is put around a text that does not parse, so that it stands where statements, or members of a class, may."""

    # -- the flat tree
    punctuation: Names
    """Anonymous tokens that no rule needs; they are dropped while the tree is read. The closers of bodies are needed."""
    identifier: str
    """Node type of a name."""
    string: str = ""
    """Node type of a string literal; read as one leaf unless its prefix is in `interpolated`."""
    interpolated: tuple[bytes, ...] = ()
    """Prefixes (lower case) of strings that hold code."""
    string_parts: Names = frozenset()
    """Other node types that are read as leaves, whatever is in them."""
    leaf_unless: Mapping[str, bytes] = field(default_factory=dict)
    """Node types that are read as leaves unless these bytes, which begin an interpolation, are in their text."""
    read_as: Mapping[str, tuple[bytes, str]] = field(default_factory=dict)
    """Node types that stand for two things: where their text begins with these bytes, they are read as the other node type."""

    # -- items
    item_kinds: Mapping[str, str]
    """Kind of item by the node type of its statement; others are `other`."""
    wrappers: Names
    """Statements that take their kind from their first child that is not `attached`."""
    attached: Names = frozenset()
    """What goes with the statement behind it: decorators, attributes, access specifiers."""
    trailing: Names = frozenset()
    """What goes with the statement before it: the text of a here-document."""
    compound: Names
    """Statements with bodies, and their clauses: comments right inside them are items."""
    clauses: Names = frozenset()
    """Parts of a compound statement that have a header of their own."""
    clause_tokens: Names = frozenset()
    """Anonymous tokens that begin such a part where the grammar has no node for it."""
    body: Names
    """Node types of bodies: their named children are statements, their tokens belong to the header."""
    header_parts: Names = frozenset()
    """Fields of a body, and node types in it, that are no statements but belong to its header."""
    opened_by: Mapping[str, str] = field(default_factory=dict)
    """Node types that hold their statements themselves, behind this token."""
    comment: Names

    # -- core logic tokens
    core: Names
    """Named nodes that are core as a whole."""
    core_tokens: Names
    """Anonymous tokens that are core: operators and control keywords."""
    not_core: Names
    """Node types with nothing core inside."""
    not_core_fields: Names = frozenset()
    """Fields with nothing core inside (types)."""
    called: Mapping[str, str] = field(default_factory=dict)
    """Field of a node type whose first name is core although it is a type: what `new` creates, what a class is named."""
    not_core_names: frozenset[bytes] = frozenset()
    """Names that are not core."""
    not_core_first: Names = frozenset()
    """Node types whose first token is no operator (the `@` of a decorator)."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Node type -> its anonymous tokens that are no operators there: the `?` of an optional parameter."""
    documented: Names = frozenset()
    """Node types whose body may begin with a docstring."""

    # -- data flow
    flow: Mapping[str, str] = field(default_factory=dict)
    """Role in the data flow by node type; roles are the methods of `DefUse`, and those in `flow_rules`. Empty: no edges."""
    binding: str = "declared"
    """Who makes a name local: `declared` - its declaration, for its block; `assigned` - any assignment, for its function;
    `python` - the same, with class bodies that run in place."""
    not_a_use: Names = frozenset()
    """Fields in which an identifier is not a use of a variable."""
    mutators: frozenset[bytes] = frozenset()
    """Methods that change their object, for the option `mutation_defines`."""

    # -- is an untagged text this language?
    words: Names = frozenset()
    """Words that a text in this language often has and one in another language seldom."""
    signs: tuple[str, ...] = ()
    """Strings of which the same is true; each counts as two words."""
    impossible: tuple[re.Pattern[str], ...] = (NEVER,)
    """A text in which one of these is found is not this language, or surely has a syntax error; spares a slow parse."""
    impossible_unless: re.Pattern[str] = NEVER
    """`impossible` beyond its first pattern does not hold in a text where this is found."""
    evidence: Names
    """A text that parses is this language only if it has one of these node types (named or anonymous)."""
    terminator: str = "\n"
    """Lines that all end so are another language."""
    shape: re.Pattern[str]
    """Lines of this shape are this language even where the text does not parse."""
    needs_shape: bool = False
    """Whether the grammar takes almost any text, so that a text without a line of that shape is not this language."""

    @property
    def has_flow(self) -> bool:
        """Whether the language has a flow table; without one its items have no edges, no reach and no bridge."""
        return bool(self.flow)
