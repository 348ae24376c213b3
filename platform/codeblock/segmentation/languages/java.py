"""Java: https://github.com/tree-sitter/tree-sitter-java."""

from __future__ import annotations

import re

from codeblock.segmentation.languages.rules import OPERATORS, LanguageRules, kinds, names, roles, wheel
from codeblock.segmentation.respell import JOINED, respelling

_CONTROL = (
    "if_statement for_statement enhanced_for_statement while_statement do_statement switch_expression try_statement "
    "try_with_resources_statement synchronized_statement labeled_statement"
)
_CLAUSES = "catch_clause finally_clause switch_block_statement_group switch_rule"
_CLASSES = (
    "class_declaration interface_declaration enum_declaration record_declaration annotation_type_declaration module_declaration"
)
_FUNCTIONS = "method_declaration constructor_declaration compact_constructor_declaration"
_TYPES = (
    "type_identifier scoped_type_identifier generic_type array_type integral_type floating_point_type boolean_type "
    "void_type "
    "type_parameters type_arguments superclass super_interfaces extends_interfaces permits throws modifiers catch_type "
    "dimensions"
)

_FLOW = roles(
    name="identifier",
    used_name="type_identifier",
    statements="program",
    block="block",
    let="local_variable_declaration field_declaration constant_declaration resource",
    declarator="variable_declarator",
    assign="assignment_expression",
    augment="update_expression",
    this_member="field_access",
    member="array_access",
    invocation="method_invocation",
    import_path="import_declaration",
    skip="package_declaration",
    function="method_declaration",
    anonymous="constructor_declaration compact_constructor_declaration lambda_expression",
    parameters="formal_parameters inferred_parameters catch_formal_parameter",
    class_body="class_declaration interface_declaration enum_declaration record_declaration annotation_type_declaration",
    renamed="instanceof_expression enum_constant",
    capture="type_pattern record_pattern",
    branch="if_statement ternary_expression",
    maybe="binary_expression",
    switch="switch_expression switch_statement",
    case="switch_block_statement_group",
    arm="switch_rule",
    loop="for_statement enhanced_for_statement while_statement",
    loop_body_first="do_statement",
    resources="try_statement try_with_resources_statement",
    handler="catch_clause",
    cleanup="finally_clause",
    leave="return_statement throw_statement",
    leave_loop="break_statement",
    next_turn="continue_statement",
)

RULES = LanguageRules(
    name="java",
    aliases=("java8", "java11", "java17", "jav", "jsh"),
    grammar=wheel("tree_sitter_java"),
    respelled=(
        respelling(r"^[ \t]*import[ \t]+(module)[ \t]"),
        respelling(r"\b(super)\s*\(", JOINED),  # behind other statements of a constructor
    ),
    enclosures=((b"class A{", b"}"),),
    punctuation=names("( ) [ ] , . ; @ class interface enum record this ..."),
    identifier="identifier",
    string_parts=names("string_literal character_literal"),
    item_kinds=kinds(
        **{"import": "import_declaration package_declaration", "class": _CLASSES, "return": "return_statement yield_statement"},
        function=_FUNCTIONS,
        control=f"{_CONTROL} {_CLAUSES} throw_statement break_statement continue_statement assert_statement",
        definition="field_declaration local_variable_declaration assignment_expression update_expression "
        "constant_declaration "
        "enum_constant",
        call="method_invocation object_creation_expression explicit_constructor_invocation",
        comment="line_comment block_comment",
    ),
    wrappers=names("expression_statement parenthesized_expression"),
    compound=names(f"{_CONTROL} {_CLAUSES} {_CLASSES} {_FUNCTIONS} static_initializer"),
    clauses=names(_CLAUSES),
    clause_tokens=names("else"),
    body=names(
        "block class_body interface_body enum_body enum_body_declarations annotation_type_body constructor_body "
        "switch_block "
        "module_body"
    ),
    opened_by={"switch_block_statement_group": ":"},
    comment=names("line_comment block_comment"),
    core=names(
        "identifier decimal_integer_literal hex_integer_literal octal_integer_literal binary_integer_literal "
        "decimal_floating_point_literal hex_floating_point_literal string_literal character_literal true false "
        "null_literal super"
    ),
    core_tokens=OPERATORS
    | names(
        "if else for while do switch case default return yield throw try catch finally break continue instanceof new assert ::"
    ),
    not_core=names(f"import_declaration package_declaration line_comment block_comment {_TYPES}"),
    called={"object_creation_expression": "type", "array_creation_expression": "type"},
    flow=_FLOW,
    not_a_use=frozenset({"field"}),
    mutators=frozenset(b"add addAll put putAll remove clear push pop poll offer append insert set sort reverse".split()),
    words=names(
        "public private protected static final void boolean String System Integer ArrayList HashMap Scanner Override "
        "extends "
        "implements throws package class ArrayUtils StringBuilder List Map int char double long new interface"
    ),
    signs=("System.out", "public static", "String[]", "public class", "import java", ".length()", "String ", ".charAt("),
    impossible=(
        re.compile(r"\A\s*(?:[<#]|SELECT\b|def\b|using\b|function\b)"),
        re.compile(
            r"#include|\bstd::|\bConsole\.|\bfunction\b|\bconsole\.|\busing\b|\bstring\b|\bcout\b|\bnamespace\b"
            r"|\bfun\b|\bprintln!"
        ),
    ),
    evidence=names(
        f"{_CONTROL} {_CLASSES} {_FUNCTIONS} import_declaration package_declaration local_variable_declaration "
        "assignment_expression method_invocation return_statement object_creation_expression update_expression"
    ),
    shape=re.compile(
        r"^[ \t]*(?:(?:public|private|protected)[ \t]+(?:static[ \t]+|final[ \t]+|abstract[ \t]+)*"
        r"(?:class|interface|enum|[\w<>\[\], ]+[ \t]+\w+[ \t]*\()|System\.out\.print"
        r"|import[ \t]+(?:static[ \t]+)?java[x.])",
        re.MULTILINE,
    ),
)
