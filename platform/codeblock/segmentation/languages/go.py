"""Go: https://github.com/tree-sitter/tree-sitter-go."""

from __future__ import annotations

import re

from codeblock.segmentation.languages.rules import OPERATORS, LanguageRules, kinds, names, roles, wheel
from codeblock.segmentation.respell import respelling

_CONTROL = "if_statement for_statement expression_switch_statement type_switch_statement select_statement labeled_statement"
_CLAUSES = "expression_case type_case communication_case default_case"
_TYPES = (
    "pointer_type slice_type array_type map_type channel_type function_type generic_type qualified_type "
    "type_parameter_list "
    "type_arguments implicit_length_array_type"
)

_FLOW = roles(
    name="identifier package_identifier",
    used_name="type_identifier",
    statements="source_file",
    block="block",
    wrapper="type_declaration statement_list",
    let="short_var_declaration var_spec const_spec receive_statement",
    assign="assignment_statement",
    augment="inc_statement dec_statement",
    member="selector_expression index_expression unary_expression",
    invocation="call_expression",
    import_string="import_spec",
    skip="package_clause",
    alias_name="type_spec type_alias",
    function="function_declaration",
    isolated="method_declaration",
    anonymous="func_literal",
    parameters="parameter_list",
    branch="if_statement",
    maybe="binary_expression",
    switch="expression_switch_statement type_switch_statement select_statement",
    arm="expression_case type_case communication_case default_case",
    loop="for_statement",
    for_clause="for_clause range_clause",
    leave="return_statement",
    leave_loop="break_statement",
    next_turn="continue_statement",
)

RULES = LanguageRules(
    name="go",
    aliases=("golang",),
    grammar=wheel("tree_sitter_go"),
    respelled=(respelling(r"^[ \t]*(?:const|var|type|import)[ \t]*\((?:[^()\n]|\([^()\n]*\))*([ \t])\)", "\n"),),
    punctuation=names("( ) [ ] , . ; func type struct interface var const import package map chan ...") | {"\n"},
    identifier="identifier",
    string_parts=names("interpreted_string_literal raw_string_literal rune_literal"),
    item_kinds=kinds(
        **{"import": "import_declaration package_clause", "class": "type_declaration", "return": "return_statement"},
        function="function_declaration method_declaration method_elem",
        control=f"{_CONTROL} {_CLAUSES} break_statement continue_statement goto_statement fallthrough_statement",
        definition="short_var_declaration assignment_statement var_declaration const_declaration inc_statement "
        "dec_statement "
        "field_declaration const_spec var_spec send_statement",
        call="call_expression go_statement defer_statement",
        comment="comment",
    ),
    wrappers=names("expression_statement parenthesized_expression"),
    compound=names(f"{_CONTROL} {_CLAUSES} function_declaration method_declaration type_declaration"),
    clauses=names(_CLAUSES),
    clause_tokens=names("else"),
    body=names("block statement_list field_declaration_list"),
    opened_by=dict.fromkeys(_CLAUSES.split(), ":"),
    comment=names("comment"),
    core=names(
        "identifier field_identifier label_name package_identifier int_literal float_literal imaginary_literal "
        "rune_literal "
        "interpreted_string_literal raw_string_literal true false nil iota"
    ),
    core_tokens=OPERATORS
    | names("if else for range switch case default return select go defer break continue goto fallthrough := <- &^ &^="),
    not_core=names(f"import_declaration package_clause comment {_TYPES}"),
    not_core_fields=names("type result receiver"),
    called={"composite_literal": "type", "type_spec": "name"},
    flow=_FLOW,
    mutators=frozenset(b"Add Set Delete Store Push Pop Write WriteString Reset".split()),
    words=names("func fmt package main nil err range make chan defer go string int struct append error type"),
    signs=(":=", "fmt.P", "package main", "func ", "[]int", "[]string", "err != nil"),
    impossible=(
        re.compile(r"\A\s*(?:[<#]|SELECT\b|def\b|using\b|public\b|class\b|function\b)"),
        re.compile(r";[ \t]*\n.*;[ \t]*\n|\bfunction\b|\bclass[ \t]+\w+[ \t]*\{|\bSystem\.|\bstd::|\bprintln!|\bfn\b"),
    ),
    evidence=names(
        f"{_CONTROL} import_declaration package_clause type_declaration function_declaration method_declaration "
        "short_var_declaration assignment_statement var_declaration const_declaration call_expression return_statement"
    ),
    shape=re.compile(
        r"^[ \t]*(?:package[ \t]+\w+[ \t]*$|func[ \t]+(?:\(\w+[ \t]+\*?\w+\)[ \t]*)?\w+\(.*\{[ \t]*$|fmt\.\w+\("
        r"|import[ \t]+\(?[ \t]*(?:\"|$)"
        r"|type[ \t]+\w+[ \t]+(?:struct|interface)\b)",
        re.MULTILINE,
    ),
    needs_shape=True,
)
