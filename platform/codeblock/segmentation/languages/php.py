"""PHP: https://github.com/tree-sitter/tree-sitter-php."""

from __future__ import annotations

import re
from dataclasses import replace

from codeblock.segmentation.languages.rules import OPERATORS, LanguageRules, kinds, names, roles, wheel

_CONTROL = (
    "if_statement for_statement foreach_statement while_statement do_statement switch_statement try_statement "
    "declare_statement named_label_statement"
)
_CLAUSES = (
    "else_clause else_if_clause catch_clause finally_clause case_statement default_statement match_conditional_expression "
    "match_default_expression"
)
_CLASSES = "class_declaration interface_declaration trait_declaration enum_declaration namespace_definition"
_IMPORTS = (
    "namespace_use_declaration require_expression require_once_expression include_expression include_once_expression "
    "use_declaration"
)
_TYPES = (
    "primitive_type optional_type union_type named_type type_list visibility_modifier static_modifier abstract_modifier "
    "final_modifier readonly_modifier var_modifier reference_modifier cast_type base_clause class_interface_clause"
)

_FLOW = roles(
    name="variable_name",
    used_name="name",
    statements="program",
    wrapper="namespace_definition",
    assign="assignment_expression reference_assignment_expression",
    augment="augmented_assignment_expression update_expression",
    member="member_access_expression subscript_expression scoped_property_access_expression",
    invocation="member_call_expression scoped_call_expression nullsafe_member_call_expression",
    imports="namespace_use_declaration",
    let="static_variable_declaration property_element",
    alias_name="const_element",
    outer="global_declaration",
    function="function_definition",
    isolated="method_declaration",
    anonymous="anonymous_function arrow_function",
    parameters="formal_parameters",
    class_body="class_declaration interface_declaration trait_declaration enum_declaration",
    branch="if_statement conditional_expression",
    otherwise_if="else_if_clause",
    maybe="binary_expression",
    switch="switch_statement match_expression",
    case="case_statement default_statement",
    arm="match_conditional_expression match_default_expression",
    each="foreach_statement",
    loop="for_statement while_statement",
    loop_body_first="do_statement",
    resources="try_statement",
    handler="catch_clause",
    cleanup="finally_clause",
    leave="return_statement throw_expression exit_statement",
    leave_loop="break_statement",
    next_turn="continue_statement",
)

_RULES = LanguageRules(
    name="php",
    aliases=("php3", "php4", "php5", "php7", "php8", "php-template", "laravel"),
    grammar=wheel("tree_sitter_php", "language_php_only"),
    enclosures=((b"class A{", b"}"),),
    punctuation=names("( ) [ ] , ; -> ?-> => :: class interface trait enum function fn namespace use extends implements"),
    identifier="variable_name",
    string_parts=names("string nowdoc text_interpolation"),
    leaf_unless={"encapsed_string": b"$", "heredoc": b"$"},
    item_kinds=kinds(
        **{"import": _IMPORTS, "class": _CLASSES, "return": "return_statement yield_expression"},
        function="function_definition method_declaration",
        control=f"{_CONTROL} {_CLAUSES} throw_expression break_statement continue_statement goto_statement exit_statement",
        definition="assignment_expression augmented_assignment_expression property_declaration const_declaration enum_case "
        "global_declaration function_static_declaration update_expression reference_assignment_expression",
        call="function_call_expression member_call_expression scoped_call_expression object_creation_expression "
        "echo_statement "
        "print_intrinsic nullsafe_member_call_expression unset_statement",
        comment="comment",
    ),
    wrappers=names("expression_statement parenthesized_expression"),
    attached=names("php_tag attribute_list"),
    compound=names(f"{_CONTROL} {_CLAUSES} {_CLASSES} function_definition method_declaration"),
    clauses=names(_CLAUSES),
    body=names("compound_statement declaration_list switch_block match_block colon_block enum_declaration_list"),
    opened_by={"case_statement": ":", "default_statement": ":"},
    comment=names("comment"),
    core=names(
        "name integer float string encapsed_string string_content escape_sequence nowdoc boolean null heredoc heredoc_body"
    ),
    core_tokens=OPERATORS
    | names(
        "if else elseif for foreach as while do switch case default match return yield throw try catch finally break "
        "continue "
        "and or xor . .= new instanceof clone echo print <=> @"
    ),
    not_core=names(f"{_IMPORTS} comment php_tag php_end_tag text_interpolation global_declaration attribute_list {_TYPES}"),
    not_core_fields=names("type return_type"),
    not_core_names=frozenset({b"$this"}),
    flow=_FLOW,
    binding="assigned",
    not_a_use=frozenset({"name"}),
    mutators=frozenset(b"add push append set remove clear".split()),
    words=names("php echo foreach array function isset strlen count mysqli explode implode"),
    signs=("<?php", "($", " $", "\n$", "echo ", " => ", "->", "$this"),
    impossible=(
        re.compile(r"\A\s*(?:[#]include|(?:import|package|using|public[ \t]+static|SELECT)\b)"),
        re.compile(r"\A\s*<(?!\?(?:php\b|=))"),
    ),
    evidence=names(
        f"{_CONTROL} {_CLASSES} {_IMPORTS} function_definition assignment_expression function_call_expression "
        f"echo_statement "
        "return_statement"
    ),
    shape=re.compile(
        r"\A\s*<\?php\b|^[ \t]*(?:\$\w+[ \t]*=[^=]|function[ \t]+\w+\([^)]*\$\w"
        r"|echo[ \t]+[\"'$])",
        re.MULTILINE,
    ),
    needs_shape=True,
)

RULES = replace(_RULES, grammar=wheel("tree_sitter_php", "language_php"), bare=_RULES, opening=re.compile(r"<\?(?:php\b|=|\s)"))
