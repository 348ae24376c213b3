"""C: https://github.com/tree-sitter/tree-sitter-c."""

from __future__ import annotations

import re

from codeblock.segmentation.languages import macros
from codeblock.segmentation.languages.rules import OPERATORS, LanguageRules, kinds, names, roles, wheel

CONTROL = (
    "if_statement for_statement while_statement do_statement switch_statement labeled_statement seh_try_statement "
    "preproc_if preproc_ifdef"
)
CLAUSES = "else_clause case_statement preproc_else preproc_elif preproc_elifdef seh_except_clause seh_finally_clause"
CLASSES = "struct_specifier union_specifier enum_specifier"
BODIES = "compound_statement field_declaration_list declaration_list enumerator_list preproc_ifdef preproc_if preproc_else"
TYPES = (
    "primitive_type sized_type_specifier type_identifier type_descriptor storage_class_specifier type_qualifier "
    "macro_type_specifier "
    "abstract_pointer_declarator attribute_specifier attribute_declaration ms_declspec_modifier"
)
LITERALS = "number_literal string_literal char_literal true false null"
KEYWORDS = "if else for while do switch case default return goto break continue sizeof"
IMPORTS = "preproc_include"

FLOW = roles(
    name="identifier",
    used_name="type_identifier",
    statements="translation_unit",
    block="compound_statement",
    wrapper="linkage_specification declaration_list preproc_if preproc_ifdef preproc_else preproc_elif",
    let="declaration",
    declarator="init_declarator",
    assign="assignment_expression",
    augment="update_expression",
    member="field_expression subscript_expression pointer_expression",
    invocation="call_expression",
    skip="preproc_include",
    alias_name="type_definition preproc_def preproc_function_def",
    function="function_definition",
    parameters="parameter_list",
    class_body="struct_specifier union_specifier enum_specifier",
    branch="if_statement conditional_expression",
    maybe="binary_expression",
    switch="switch_statement",
    case="case_statement",
    loop="for_statement while_statement",
    loop_body_first="do_statement",
    leave="return_statement",
    leave_loop="break_statement",
    next_turn="continue_statement",
)

RULES = LanguageRules(
    name="c",
    aliases=("h", "ansi-c", "c99", "c11", "embedded-c", "arduino"),
    grammar=wheel("tree_sitter_c"),
    misread=re.compile(
        r"^([ \t]*#[ \t]*(?:include[ \t]*(?:<[^>\n]*>|\"[^\"\n]*\")|(?:ifn?def|undef)[ \t]+\w+))([ \t]+)(?=\r?$)", re.MULTILINE
    ),
    respelled=macros.C,
    preprocessed=True,
    enclosures=((b"{", b"}"),),
    punctuation=names("( ) [ ] , . ; struct union enum typedef ..."),
    identifier="identifier",
    string_parts=names("string_literal char_literal system_lib_string"),
    item_kinds=kinds(
        **{"import": IMPORTS, "class": CLASSES, "return": "return_statement"},
        function="function_definition",
        control=f"{CONTROL} {CLAUSES} goto_statement break_statement continue_statement",
        definition="declaration field_declaration type_definition assignment_expression update_expression preproc_def "
        "preproc_function_def enumerator",
        call="call_expression",
        comment="comment",
    ),
    wrappers=names("expression_statement parenthesized_expression"),
    compound=names(f"{CONTROL} {CLAUSES} {CLASSES} function_definition"),
    clauses=names(CLAUSES),
    body=names(BODIES),
    header_parts=names("name condition"),
    opened_by={"case_statement": ":"},
    comment=names("comment"),
    core=names(f"identifier field_identifier statement_identifier {LITERALS}"),
    core_tokens=OPERATORS | names(f"{KEYWORDS} ->"),
    not_core=names(f"{IMPORTS} comment {TYPES}"),
    not_core_first=names("pointer_declarator"),
    called=dict.fromkeys(CLASSES.split(), "name"),
    flow=FLOW,
    words=names(
        "printf scanf malloc free sizeof struct include stdio stdlib NULL char int void main unsigned typedef strlen "
        "strcpy "
        "float double long fopen const"
    ),
    signs=("#include <stdio", "#include<stdio", "printf(", "->", "#define", "char *", "char* ", "int main("),
    impossible=(
        re.compile(r"\A\s*(?:<|SELECT\b|def\b|using\b|function\b|public\b|package\b|import\b)"),
        re.compile(
            r"\bstd::|\bcout\b|\bclass\b|\btemplate\b|\bnamespace\b|\bString\b|\bfunction\b|\bconsole\.|\blet\b|\bvar\b"
            r"|\bpublic\b|\bnew\b|\bfunc\b|\bfn\b|\bvector\b|\bstring\b(?!\.h)|=>|#include[ \t]*<\w+>"
        ),
    ),
    evidence=names(
        f"{CONTROL} {CLASSES} {IMPORTS} function_definition declaration assignment_expression call_expression "
        f"return_statement "
        "update_expression preproc_def preproc_function_def"
    ),
    shape=re.compile(
        r"^[ \t]*(?:#[ \t]*include[ \t]*[<\"][\w/]+\.h[>\"]|(?:int|void|char|float|double|unsigned"
        r"|long)[ \t]*\**[ \t]*\w+[ \t]*\(.*\)[ \t]*\{?[ \t]*$"
        r"|printf\(|struct[ \t]+\w+[ \t]*\{)",
        re.MULTILINE,
    ),
)
