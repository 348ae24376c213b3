"""Kotlin: https://github.com/tree-sitter-grammars/tree-sitter-kotlin."""

from __future__ import annotations

import re

from codeblock.segmentation.languages.rules import OPERATORS, LanguageRules, kinds, names, roles, wheel
from codeblock.segmentation.respell import respelling

_CONTROL = "if_expression when_expression for_statement while_statement do_while_statement try_expression"
_CLASSES = "class_declaration object_declaration companion_object"
_FUNCTIONS = "function_declaration secondary_constructor anonymous_initializer getter setter"

_FLOW = roles(
    name="identifier",
    statements="source_file",
    block="block",
    function_body="function_body",
    property="property_declaration",
    declarator="variable_declaration multi_variable_declaration",
    type="user_type nullable_type function_type",
    assign="assignment",
    update="unary_expression",
    this_member="navigation_expression",
    member="index_expression",
    import_path="import",
    skip="package_header",
    function="function_declaration",
    anonymous="lambda_literal anonymous_function secondary_constructor",
    parameters="function_value_parameters lambda_parameters class_parameters",
    class_body="class_declaration object_declaration",
    split="if_expression",
    maybe="binary_expression",
    switch="when_expression",
    arm="when_entry",
    each="for_statement",
    loop="while_statement",
    loop_body_first="do_while_statement",
    resources="try_expression",
    handler="catch_block",
    cleanup="finally_block",
    leave="return_expression throw_expression",
    leave_loop="break_expression",
    next_turn="continue_expression",
)

RULES = LanguageRules(
    name="kotlin",
    aliases=("kt", "kts", "kotlin-script"),
    grammar=wheel("tree_sitter_kotlin"),
    respelled=(
        respelling(r"([ \t])\}", "\n"),  # what stands before the end of a body on its line
        respelling(r"\}([ \t])(?=\})", "\n"),
        respelling(r";([ \t])(?:(?:private|protected|internal)[ \t]+set\b|[gs]et\(\))", "\n"),
        respelling(r"(;)\s+(?:private|protected|internal)[ \t]+set\b"),
        # infix calls behind a lambda
        respelling(
            r"\}[ \t]+((?!(?:else|while|catch|finally|in|is|as|get|set|by|where)\b|get\()[a-z]\w*)[ \t]+(?=[\w(\"])", "+"
        ),
        respelling(r"\}[ \t]+(get)[ \t]+(?=[\w(\"])", "+"),
        respelling(r"\b((?:actual|expect)[ \t])(?=[ \t]*constructor\b)"),
        respelling(r"^[ \t]*(context[ \t]*\([^()]*\))(?=\s*(?:\w+\s+)*(?:fun|val|var|class)\b)"),
        respelling(r"(\$\$+)(?=\")"),
        respelling(r"^[ \t]*(?:is|in|!is|!in)\b[^\n{}]*?[ \t](if)[ \t][^\n]*->", ","),  # guards
        respelling(r"^[ \t]*(else[ \t]+if)[ \t][^\n]*->"),
    ),
    enclosures=((b"class A {", b"}\n"),),
    punctuation=names("( ) [ ] , . ; : class interface object fun val var companion init constructor this"),
    identifier="identifier",
    string_parts=names("character_literal"),
    leaf_unless={"string_literal": b"$", "multiline_string_literal": b"$"},
    item_kinds=kinds(
        **{"import": "import package_header", "class": f"{_CLASSES} type_alias", "return": "return_expression"},
        function=_FUNCTIONS,
        control=f"{_CONTROL} catch_block finally_block when_entry throw_expression",
        definition="property_declaration assignment enum_entry",
        call="call_expression navigation_expression",
        comment="line_comment block_comment",
    ),
    wrappers=names("parenthesized_expression"),
    compound=names(f"{_CONTROL} {_CLASSES} {_FUNCTIONS} catch_block finally_block when_entry"),
    clauses=names("catch_block finally_block"),
    clause_tokens=names("else"),
    body=names("block class_body enum_class_body lambda_literal"),
    header_parts=names("lambda_parameters"),
    opened_by={"when_expression": "{"},
    comment=names("line_comment block_comment"),
    core=names(
        "identifier number_literal float_literal string_literal multiline_string_literal string_content escape_sequence "
        "character_literal"
    ),
    core_tokens=OPERATORS
    | names("if else when for in while do return throw try catch finally break continue is as as? !in !is .. ..< ?. ?: !!"),
    not_core=names(
        "import package_header line_comment block_comment user_type type_parameters type_arguments type_constraints "
        "modifiers "
        "parameter_modifiers function_type nullable_type delegation_specifiers type_modifiers"
    ),
    flow=_FLOW,
    mutators=frozenset(b"add addAll put putAll remove clear push pop append insert set sort reverse".split()),
    words=names("fun val var println listOf mutableListOf main Int String when it override data readLine arrayOf toInt"),
    signs=("fun ", "val ", "println(", ": Int", ": String", "fun main(", "arrayOf(", "listOf(", "Array<String>"),
    impossible=(
        re.compile(r"\A\s*(?:[<#]|SELECT\b|def\b|using\b|public class\b|function\b)"),
        re.compile(
            r"\bfunction\b|\bSystem\.out|\bconsole\.|\bstd::|\bfunc\b|\bfn\b|\blet\b|\bconst[ \t]+\w+[ \t]*="
            r"|#include"
        ),
    ),
    evidence=names(
        f"{_CONTROL} {_CLASSES} function_declaration property_declaration call_expression assignment import package_header"
    ),
    shape=re.compile(
        r"^[ \t]*(?:(?:\w+[ \t]+)*fun[ \t]+(?:<.*>[ \t]*)?[\w.]+\(.*|val[ \t]+\w+(?:[ \t]*:[ \t]*[\w<>?]+)?[ \t]*="
        r"|data[ \t]+class\b)",
        re.MULTILINE,
    ),
    needs_shape=True,
)
