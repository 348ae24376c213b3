"""Python: https://github.com/tree-sitter/tree-sitter-python."""

from __future__ import annotations

import re

import tree_sitter_python

from codeblock.core.schema import ItemKind
from codeblock.segmentation.languages.rules import LanguageRules, names
from codeblock.segmentation.respell import respelling

_FIRST_WORDS = (
    "False None True and as assert async await break case class continue def del elif else except exec finally for from "
    "global if import in is lambda match nonlocal not or pass print raise return try type while with yield"
)
_SECOND_WORDS = "and as else for from if in is import not or async await lambda"

_IMPORTS = ("import_statement", "import_from_statement", "future_import_statement")
_CLAUSES = ("elif_clause", "else_clause", "except_clause", "finally_clause", "case_clause")
_CONTROL = ("if_statement", "for_statement", "while_statement", "try_statement", "with_statement", "match_statement")
_COMPREHENSIONS = ("list_comprehension", "set_comprehension", "dictionary_comprehension", "generator_expression")


def _any(words: str) -> str:
    return "|".join(words.split())


RULES = LanguageRules(
    name="python",
    aliases=("py", "python3", "python2", "py3", "py2", "python-3", "python3.x", "ipython", "ipython3", "pyi", "gyp"),
    grammar=tree_sitter_python.language,
    has_magics=True,
    # defaults of type parameters
    respelled=(
        respelling(r"^[ \t]*(?:class|(?:async[ \t]+)?def|type)[ \t]+\w+[ \t]*\[(?:[^\[\]=\n]|\[[^\[\]\n]*\])*(=)(?!=)", "|"),
    ),
    punctuation=names("( ) [ ] { } , : . ; -> def class pass import as global nonlocal del assert with"),
    identifier="identifier",
    string="string",
    interpolated=(b"f", b"fr", b"rf", b"t", b"tr", b"rt"),
    string_parts=frozenset({"string_start", "string_content", "string_end"}),
    item_kinds={
        **dict.fromkeys(_IMPORTS, ItemKind.IMPORT.value),
        "function_definition": ItemKind.FUNCTION.value,
        "class_definition": ItemKind.CLASS.value,
        **dict.fromkeys((*_CONTROL, *_CLAUSES), ItemKind.CONTROL.value),
        **dict.fromkeys(
            ("raise_statement", "assert_statement", "break_statement", "continue_statement"), ItemKind.CONTROL.value
        ),
        **dict.fromkeys(
            ("assignment", "augmented_assignment", "named_expression", "type_alias_statement"),
            ItemKind.DEFINITION.value,
        ),
        **dict.fromkeys(("call", "await", "print_statement", "exec_statement"), ItemKind.CALL.value),
        **dict.fromkeys(("return_statement", "yield"), ItemKind.RETURN.value),
        "comment": ItemKind.COMMENT.value,
    },
    wrappers=names("expression_statement decorated_definition"),
    attached=names("decorator"),
    compound=frozenset({*_CONTROL, *_CLAUSES, "function_definition", "class_definition"}),
    clauses=frozenset(_CLAUSES),
    body=names("block"),
    comment=names("comment"),
    core=names("identifier integer float true false none ellipsis string string_start string_content string_end"),
    core_tokens=names(
        "+ - * / // % ** @ & | ^ ~ << >> < > <= >= == != <> = := "
        "+= -= *= /= //= %= **= @= &= |= ^= <<= >>= "
        "if elif else for while return yield raise try except break continue and or not in is lambda await "
        "print exec"
    ),
    not_core=frozenset({*_IMPORTS, "type", "type_parameter", "comment", "global_statement", "nonlocal_statement"}),
    not_core_names=frozenset({b"self"}),
    not_core_first=frozenset({"decorator"}),
    documented=frozenset({"module", "function_definition", "class_definition"}),
    binding="python",
    flow={
        **dict.fromkeys(("module", "block", "expression_statement", "decorated_definition"), "sequence"),
        **dict.fromkeys(_IMPORTS, "imports"),
        "assignment": "assign",
        "augmented_assignment": "augment",
        "delete_statement": "delete",
        "global_statement": "declare_global",
        "nonlocal_statement": "declare_nonlocal",
        "function_definition": "function",
        "class_definition": "class_body",
        "if_statement": "branch",
        "for_statement": "loop_over",
        "while_statement": "loop_while",
        "try_statement": "guarded",
        "match_statement": "match",
        "with_statement": "within",
        "type_alias_statement": "alias",
        "return_statement": "leave",
        "raise_statement": "leave",
        "break_statement": "leave_loop",
        "continue_statement": "next_turn",
        # inside expressions
        "identifier": "name",
        "lambda": "closure",
        **dict.fromkeys(_COMPREHENSIONS, "comprehension"),
        "named_expression": "walrus",
        "as_pattern_target": "target",
        "call": "call",
        "boolean_operator": "maybe_here",
        "conditional_expression": "maybe_here",
        # what the methods above look for
        "case_clause": "case",
        "except_clause": "handler",
        "finally_clause": "cleanup",
        "else_clause": "otherwise",
        "attribute": "member",
        "subscript": "member",
        "for_in_clause": "for_clause",
        "case_pattern": "pattern",
        "class_pattern": "pattern_class",
        "keyword_pattern": "pattern_key",
        "dotted_name": "pattern_name",
    },
    not_a_use=frozenset({"attribute", "name"}),
    mutators=frozenset(
        b"append extend insert remove pop clear sort reverse add update discard setdefault popitem appendleft popleft "
        b"extendleft rotate intersection_update difference_update symmetric_difference_update write put".split()
    ),
    impossible=(
        # a text that begins so
        re.compile(r"\A(?:\s|#[^\n]*\n)*[<$%&/|?!;:,)\]}=>]"),
        # a line that begins with two words, neither of which is a keyword in its place
        re.compile(
            rf"^[ \t]*(?!(?:{_any(_FIRST_WORDS)})\b)[^\W\d]\w*[ \t]+(?!(?:{_any(_SECOND_WORDS)})\b)"
            r"[^\W\d]\w*(?![\w\"'])",
            re.MULTILINE,
        ),
    ),
    impossible_unless=re.compile(r'"""|\'\'\'|\\\r?\n|\\\r'),
    evidence=frozenset(
        {
            *_IMPORTS,
            *_CONTROL,
            *_COMPREHENSIONS,
            "function_definition",
            "class_definition",
            "call",
            "=",
            "augmented_assignment",
            "named_expression",
            "lambda",
            "subscript",
            "conditional_expression",
            "return_statement",
            "yield",
            "raise_statement",
            "assert_statement",
            "delete_statement",
            "print_statement",
        }
    ),
    terminator=";",
    shape=re.compile(
        r"^[ \t]*(?:(?:async[ \t]+)?def[ \t]+\w+[ \t]*\(.*:[ \t]*(?:#.*)?$|class[ \t]+\w+[ \t]*(?:\(.*\))?:[ \t]*$"
        r"|from[ \t]+[\w.]+[ \t]+import[ \t]|elif[ \t].*:[ \t]*$|except\b.*:[ \t]*$|if[ \t]+__name__\b"
        r"|for[ \t]+\w+(?:,[ \t]*\w+)*[ \t]+in[ \t].*:[ \t]*$)",
        re.MULTILINE,
    ),
)
