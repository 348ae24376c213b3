"""Which language is an untagged text? By the grammars' own verdict, then by the shape of its lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from tree_sitter import Tree

from codeblock.segmentation.languages import ALL, LanguageRules, find_rules
from codeblock.segmentation.languages.others import known_by_looks, known_by_parts
from codeblock.segmentation.notebooks import surely_has_magics, without_magics
from codeblock.segmentation.respell import other_readings
from codeblock.segmentation.source import Source, encode, parseable
from codeblock.segmentation.tree import Grammar, grammar_of, top

CODE_SHARE = 0.5
"""Share of the lines with the look of code from which on a text without a grammar counts as code."""

MAX_ERROR_SHARE = 0.2
"""Share of a text's bytes in syntax errors up to which a text with lines of a language's shape is of that language."""

MAX_PARSED = 3
"""Grammars that are tried on a text at most, besides Python's: those whose words and signs it has most."""

SENTENCE = re.compile(r"^[ \t]*(?:\d+\. |[*-] )?[A-Z][a-z']*(?:,? [a-z']+){3}", re.MULTILINE)
"""A line that begins as a sentence does."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_STATEMENTS = re.compile(r"[;{}][ \t]*(?://.*)?(?:\n|\Z)")
_SHEBANG = re.compile(r"\s*(?:#!|<\?|<!)")
_INTERPRETER = re.compile(r"\s*#!.*?\b(bash|sh|zsh|ksh|python|node|ruby|php)[\d.]*\b")
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
    lead: int = 0
    """Bytes that stand before those of the source in what was parsed."""

    @property
    def language(self) -> str:
        """Canonical name of the language."""
        return self.grammar.rules.name


class Recognised(NamedTuple):
    """What language a text is in, and its syntax tree; None where that is not known, or there is no grammar for it."""

    language: str | None
    parsed: Parsed | None


UNKNOWN = Recognised(None, None)


def parse(text: str, rules: LanguageRules) -> Parsed | None:
    """Parse a text in a language; None where its grammar is not installed.

    A text that the grammar refuses is read again as `respell` says; it has an error if no reading is without one.
    """
    parsed = _parse_once(text, rules)
    return None if parsed is None else _read_again(parsed) or parsed


def _parse_once(text: str, rules: LanguageRules) -> Parsed | None:
    if rules.bare is not None and not rules.opening.search(text):
        rules = rules.bare
    grammar = grammar_of(rules)
    if grammar is None:
        return None
    parsed = _parse(text, rules, grammar)
    if parsed.has_error and rules.has_magics and (python := without_magics(text)) != text:
        other = _parse(python, rules, grammar)
        return parsed if other.has_error else other
    return parsed


def _parse(text: str, rules: LanguageRules, grammar: Grammar) -> Parsed:
    if not text.endswith("\n"):
        text += "\n"  # without one some grammars do not close what ends with its line
    source = encode(rules.misread.sub(lambda found: found[1] + "\n" * len(found[2]), text))
    tree = grammar.parser.parse(parseable(source.data))
    return Parsed(grammar, source, tree, tree.root_node.has_error)


def _read_again(parsed: Parsed) -> Parsed | None:
    """Another reading of a text with an error; None where none is without one."""
    if not parsed.has_error:
        return None
    grammar, source = parsed.grammar, parsed.source
    for lead, data in other_readings(parseable(source.data), grammar.rules):
        tree = grammar.parser.parse(data)
        # what is put around a text must not end inside it
        if not tree.root_node.has_error and (not lead or top(tree, lead).end_byte > lead + len(source.data)):
            return Parsed(grammar, source, tree, False, lead)
    return None


def recognise(text: str) -> Recognised:
    """The language of an untagged text.

    A language takes a text that parses without an error and has more in it than words and literals. A text that does not
    parse is still of the language if it has a line of an unmistakable shape (`def f(x):`) and no sentence; its tree then
    `has_error`. Python is asked before the others, then the languages whose words and signs the text has, most first.
    """
    if (name := known_by_looks(text)) is not None:
        return Recognised(name, None)
    if (named := _by_interpreter(text)) is not None:
        return named
    first, *others = ALL
    possible = not _impossible(text, first) or (first.has_magics and surely_has_magics(text))
    parsed = _parse_once(text, first) if possible else None
    if parsed is not None and not parsed.has_error and _is_program(parsed, text):
        return Recognised(first.name, parsed)
    if (parsed is None or parsed.has_error) and first.shape.search(text) and not SENTENCE.search(text):
        return Recognised(first.name, parse(text, first))
    return UNKNOWN if SENTENCE.match(text) else _among(text, likely(text, others))


def _by_interpreter(text: str) -> Recognised | None:
    """The language of the program in a text's first line (`#!/bin/bash`), where it takes the text."""
    named = _INTERPRETER.match(text)
    rules = find_rules(named[1]) if named else None
    parsed = parse(text, rules) if rules else None
    return Recognised(parsed.language, parsed) if parsed is not None and not parsed.has_error else None


def likely(text: str, languages: list[LanguageRules]) -> list[LanguageRules]:
    """The languages whose words and signs a text has, most first; at most `MAX_PARSED`."""
    scores = [0] * len(languages)
    by_word, by_sign = _clues(tuple(rules.name for rules in languages))
    for word in set(_WORD.findall(text)):
        for at in by_word.get(word, ()):
            scores[at] += 1
    for sign, at in by_sign:
        if sign in text:
            scores[at] += 2
    order = sorted((at for at, score in enumerate(scores) if score), key=lambda at: -scores[at])[:MAX_PARSED]
    if not order and _STATEMENTS.search(text):
        order = [0]
    return [languages[at] for at in order]


@cache
def _clues(names: tuple[str, ...]) -> tuple[dict[str, list[int]], list[tuple[str, int]]]:
    by_word: dict[str, list[int]] = {}
    by_sign: list[tuple[str, int]] = []
    rules_of = {rules.name: rules for rules in ALL}
    for at, name in enumerate(names):
        for word in rules_of[name].words:
            by_word.setdefault(word, []).append(at)
        by_sign += [(sign, at) for sign in rules_of[name].signs]
    return by_word, by_sign


def _among(text: str, languages: list[LanguageRules]) -> Recognised:
    """The first of the languages that takes the text, at once or when it is read again, else that with the fewest errors."""
    broken: list[tuple[float, Parsed]] = []
    for rules in languages:
        shaped = rules.shape.search(text) is not None
        if any(pattern.search(text) for pattern in rules.impossible) or (rules.needs_shape and not shaped):
            continue
        parsed = _parse_once(text, rules)
        if parsed is None:
            if shaped:
                return Recognised(rules.name, None)
        elif not parsed.has_error:
            if _is_program(parsed, text):
                return Recognised(rules.name, parsed)
        elif shaped:
            broken.append((error_share(parsed.tree), parsed))
    for _, parsed in broken:
        again = _read_again(parsed)
        if again is not None and (not again.grammar.rules.needs_shape or _is_program(again, text)):
            return Recognised(again.language, again)
    if broken and (name := known_by_parts(text)) is not None:
        return Recognised(name, None)
    if broken and not SENTENCE.search(text):
        share, parsed = min(broken, key=lambda pair: pair[0])
        if share <= MAX_ERROR_SHARE:
            return Recognised(parsed.language, parsed)
    return UNKNOWN


def error_share(tree: Tree) -> float:
    """Share of a text's bytes that the grammar could not place, 0..1; a token that it had to add counts as one byte."""
    wrong = 0
    cursor = tree.walk()
    while True:
        node = cursor.node
        assert node is not None
        if node.is_error or node.is_missing:
            wrong += max(node.end_byte - node.start_byte, 1)
        elif node.has_error and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return wrong / max(tree.root_node.end_byte, 1)


def first_error(tree: Tree) -> int:
    """The first byte that the grammar could not place, or where it had to add a token."""
    cursor = tree.walk()
    while True:
        node = cursor.node
        assert node is not None
        if node.is_error or node.is_missing:
            return node.start_byte
        if node.has_error and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return tree.root_node.start_byte


def _impossible(text: str, rules: LanguageRules) -> bool:
    beginning, *anywhere = rules.impossible
    if beginning.match(text):
        return True
    return rules.impossible_unless.search(text) is None and any(pattern.search(text) for pattern in anywhere)


def _is_program(parsed: Parsed, text: str) -> bool:
    """Whether there is more than words, numbers and strings, and the lines do not end as another language's."""
    rules = parsed.grammar.rules
    lines = [line for line in text.split("\n") if line.strip()]
    if all(line.rstrip().endswith(rules.terminator) for line in lines):
        return False
    wanted = parsed.grammar.evidence
    cursor = top(parsed.tree, parsed.lead).walk()
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
    code = sum(_CODE_LINE.match(line) is not None and not SENTENCE.match(line) for line in lines)
    return code > 0 and code >= CODE_SHARE * len(lines)
