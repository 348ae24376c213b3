"""Rust: https://github.com/tree-sitter/tree-sitter-rust."""

from __future__ import annotations

import re

from codeblock.segmentation.languages.rules import OPERATORS, LanguageRules, kinds, names, roles, wheel
from codeblock.segmentation.respell import respelling

_CONTROL = "if_expression match_expression while_expression for_expression loop_expression unsafe_block async_block"
_CLASSES = "struct_item enum_item union_item trait_item impl_item mod_item foreign_mod_item"
_FUNCTIONS = "function_item function_signature_item macro_definition"
_TYPES = (
    "type_identifier primitive_type reference_type generic_type type_arguments type_parameters "
    "scoped_type_identifier array_type "
    "tuple_type pointer_type function_type dynamic_type abstract_type bounded_type where_clause trait_bounds lifetime "
    "visibility_modifier mutable_specifier unit_type never_type function_modifiers extern_modifier bracketed_type"
)

_FLOW = roles(
    name="identifier shorthand_field_identifier",
    used_name="type_identifier",
    statements="source_file",
    block="block",
    wrapper="mod_item",
    let="let_declaration let_condition const_item static_item",
    assign="assignment_expression",
    augment="compound_assignment_expr",
    member="field_expression index_expression unary_expression",
    invocation="call_expression",
    imports="use_declaration extern_crate_declaration",
    first_part="scoped_identifier scoped_type_identifier",
    alias_name="type_item",
    function="function_item",
    anonymous="closure_expression",
    parameters="parameters closure_parameters",
    class_body="struct_item enum_item union_item trait_item",
    members="impl_item",
    branch="if_expression",
    maybe="binary_expression",
    switch="match_expression",
    arm="match_arm",
    pattern="match_pattern",
    loop="for_expression while_expression loop_expression",
    leave="return_expression",
    leave_loop="break_expression",
    next_turn="continue_expression",
)

RULES = LanguageRules(
    name="rust",
    aliases=("rs", "rust-lang"),
    grammar=wheel("tree_sitter_rust"),
    respelled=(respelling(r"(?:^|[{;}])[ \t]*(?:pub[ \t]+)?(safe)[ \t]+(?:fn|static)\b"),),
    enclosures=((b"{", b"}"),),
    punctuation=names("( ) [ ] , . : :: => -> fn struct enum trait impl mod let pub use type const static macro_rules! #"),
    identifier="identifier",
    string_parts=names("string_literal raw_string_literal char_literal attribute_item inner_attribute_item"),
    item_kinds=kinds(
        **{"import": "use_declaration extern_crate_declaration", "class": f"{_CLASSES} type_item associated_type"},
        function=_FUNCTIONS,
        control=f"{_CONTROL} else_clause match_arm break_expression continue_expression",
        definition="let_declaration assignment_expression compound_assignment_expr const_item static_item "
        "field_declaration "
        "enum_variant",
        call="call_expression macro_invocation await_expression try_expression",
        comment="line_comment block_comment",
        **{"return": "return_expression yield_expression"},
    ),
    wrappers=names("expression_statement parenthesized_expression"),
    attached=names("attribute_item"),
    compound=names(f"{_CONTROL} {_CLASSES} {_FUNCTIONS} else_clause match_arm let_declaration"),
    clauses=names("else_clause"),
    body=names("block declaration_list match_block field_declaration_list enum_variant_list"),
    comment=names("line_comment block_comment"),
    core=names(
        "identifier field_identifier shorthand_field_identifier integer_literal float_literal boolean_literal "
        "string_literal "
        "raw_string_literal char_literal crate super metavariable"
    ),
    core_tokens=OPERATORS | names("if else for in while loop match return yield break continue await as .. ..= unsafe move"),
    not_core=names(
        f"use_declaration extern_crate_declaration line_comment block_comment attribute_item inner_attribute_item {_TYPES}"
    ),
    not_core_fields=names("return_type trait"),
    called={
        **dict.fromkeys(("struct_item", "enum_item", "union_item", "trait_item"), "name"),
        "struct_expression": "name",
        "tuple_struct_pattern": "type",
    },
    not_core_first=names("reference_pattern self_parameter"),
    marks={"impl_item": "for"},
    flow=_FLOW,
    mutators=frozenset(
        b"push pop insert remove clear extend push_str push_back push_front pop_front sort retain truncate".split()
    ),
    words=names("fn let mut impl println String Vec Option Some None Ok Err match usize i32 u32 f64 str unwrap pub struct use"),
    signs=("println!", "fn ", "let mut ", "&str", "&mut ", "-> ", "vec!", "fn main()", "use std::", "Vec<"),
    impossible=(
        re.compile(r"\A\s*(?:<|SELECT\b|def\b|using\b|public\b|class\b|function\b|#include)"),
        re.compile(r"\bfunction\b|\bclass[ \t]+\w+[ \t]*\{|\bSystem\.|\bpublic\b|\bfunc\b|\bvar\b|\bcout\b"),
    ),
    evidence=names(
        f"{_CONTROL} {_CLASSES} {_FUNCTIONS} let_declaration use_declaration macro_invocation call_expression "
        f"assignment_expression"
    ),
    shape=re.compile(
        r"^[ \t]*(?:(?:pub[ \t]+)?fn[ \t]+\w+(?:<.*>)?\(.*\{?[ \t]*$|let[ \t]+mut[ \t]+\w+|use[ \t]+[\w:]+::"
        r"|println!\(|impl\b.*\{[ \t]*$|#\[)",
        re.MULTILINE,
    ),
    needs_shape=True,
)
