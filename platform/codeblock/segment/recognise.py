"""Which language is an untagged text? By the grammar's own verdict, then by the shape of its lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from tree_sitter import Tree

from codeblock.segment.languages import ALL, LanguageRules
from codeblock.segment.source import Source, encode
from codeblock.segment.tree import Grammar, grammar_of

CODE_SHARE = 0.5
"""Share of the lines with the look of code from which on a text without a grammar counts as code."""

_SENTENCE = re.compile(r"^[ \t]*(?:\d+\. |[*-] )?[A-Z][a-z']*(?:,? [a-z']+){3}", re.MULTILINE)
_SHEBANG = re.compile(r"\s*(?:#!|<\?|<!)")
_COMMENT_LINE = re.compile(r"\s*#+(?:[ ]|$)")
_CODE_LINE = re.compile(
    r"""
    .*[;{}][ \t]*(?:(?://|/\*|\#).*)?$                      # ends a statement or a block, or begins one
    | \s*</?[A-Za-z!?][^<>]*>                               # a tag
    | .*<(?:/?[A-Za-z][^<>]*|br)>\s*$
    | \s*(?:[\w<>\[\]]+[ ]){0,2}[\w.$@\[\]'"]+\s*(?:[-+*/|&:]?=|<-|->|::)\s*[^\s=]  # an assignment, a type
    | \s*(?:\w+[ ])?[\w.$:]+!?\(.*\)\s*[:,]?\s*$            # a call
    | \s*(?://|/\*|\*/|\*\ |\#include\b|\#define\b|--\s)    # a comment, a directive
    | \s*[\])}(]+[,;)]*\s*$                                 # brackets alone
    | .*[\])}"'],\s*$ | \s*(?:case\b.*|default)\s*:\s*$ | \s*[+]\s\S.*
    | \s*["']?[\w-]+["']?\s*:\s*\S.*,\s*$ | \s*["'][\w -]+["']\s*:\s*\S | \s*["']?\w+["']?,\s*$  # part of a literal
    | \s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|FROM|WHERE|GROUP\ BY|ORDER\ BY|JOIN|INNER|LEFT|VALUES|SET
        |HAVING|AND|OR|ON|LIMIT|UNION|PRIMARY\ KEY|FOREIGN\ KEY)\b
    | \s*\w+[ ](?:\w+[ ])?(?i:int|integer|varchar|char|text|date|datetime|timestamp|decimal|float|boolean)\b(?:[( ,]|$)
    | \s*(?:def|class|function|func|fn|var|let|val|const|public|private|static|import|package|using|require|echo|puts
        |return|elsif|unless|printf?|println|Dim|Sub|End|Next|If|For|While)\b[ ]*[\w"'$({*.]
    | \s*(?:end|else|fi|done|esac|then|begin|do|try)\s*$
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A text's syntax tree."""

    grammar: Grammar
    source: Source
    tree: Tree
    has_error: bool

    @property
    def language(self) -> str:
        """Canonical name of the language."""
        return self.grammar.rules.name


def parse(text: str, rules: LanguageRules) -> Parsed:
    """Parse a text in a language."""
    grammar = grammar_of(rules.name)
    source = encode(text)
    tree = grammar.parser.parse(source.data)
    return Parsed(grammar, source, tree, tree.root_node.has_error)


def recognise(text: str) -> Parsed | None:
    """The syntax tree of an untagged text in the language that it is in; None where no grammar takes it.

    A language takes a text that parses without an error and has more in it than words and literals. A text that does not
    parse is still of the language if it has a line of an unmistakable shape (`def f(x):`) and no sentence; its tree then
    `has_error`.
    """
    for rules in ALL:
        parsed = None if _impossible(text, rules) else parse(text, rules)
        if parsed is not None and not parsed.has_error:
            return parsed if _is_program(parsed, text) else None
        if rules.shape.search(text) and not _SENTENCE.search(text):
            return parsed or parse(text, rules)
    return None


def _impossible(text: str, rules: LanguageRules) -> bool:
    beginning, *anywhere = rules.impossible
    if beginning.match(text):
        return True
    return rules.impossible_unless.search(text) is None and any(pattern.search(text) for pattern in anywhere)


@cache
def _evidence(language: str) -> frozenset[int]:
    grammar = grammar_of(language)
    names = grammar.rules.evidence
    return grammar.ids(names) | grammar.ids(names, named=False)


def _is_program(parsed: Parsed, text: str) -> bool:
    """Whether there is more than words, numbers and strings, and the lines do not end as another language's."""
    lines = [line for line in text.split("\n") if line.strip()]
    if all(line.rstrip().endswith(parsed.grammar.rules.terminator) for line in lines):
        return False
    wanted = _evidence(parsed.language)
    cursor = parsed.tree.walk()
    while True:
        node = cursor.node
        if node is not None and node.kind_id in wanted:
            return True
        if cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return False


def looks_like_code(text: str) -> bool:
    """Whether at least half of the lines have the look of code in some language; lines with `#` comments do not vote."""
    if _SHEBANG.match(text):
        return True
    lines = [line for line in text.split("\n") if line.strip() and not _COMMENT_LINE.match(line)]
    code = sum(_CODE_LINE.match(line) is not None and not _SENTENCE.match(line) for line in lines)
    return code > 0 and code >= CODE_SHARE * len(lines)
