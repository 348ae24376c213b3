"""JavaScript with JSX: https://github.com/tree-sitter/tree-sitter-javascript."""

from __future__ import annotations

import re

from codeblock.segmentation.languages.rules import OPERATORS, LanguageRules, kinds, names, roles, wheel
from codeblock.segmentation.respell import JOINED, respelling

CONTROL = (
    "if_statement for_statement for_in_statement while_statement do_statement switch_statement try_statement "
    "with_statement labeled_statement"
)
CLAUSES = "else_clause catch_clause finally_clause switch_case switch_default"
BODIES = "statement_block class_body switch_body"
NAMES = (
    "identifier property_identifier private_property_identifier shorthand_property_identifier "
    "shorthand_property_identifier_pattern statement_identifier"
)
WORDS = (
    "function const let var console document window require module exports async await undefined typeof parseInt "
    "addEventListener getElementById querySelector forEach Math JSON Promise alert React prompt constructor"
)
SIGNS = ("===", "=> ", "console.log", "=>{", ".length;", ".prototype", "module.exports", "$(", "let ", "const ", "function(")
EVIDENCE = (
    f"{CONTROL} import_statement export_statement function_declaration generator_function_declaration class_declaration "
    "lexical_declaration variable_declaration assignment_expression augmented_assignment_expression call_expression "
    "new_expression arrow_function function_expression return_statement throw_statement update_expression jsx_element"
)
SHAPE = (
    r"^[ \t]*(?:(?:export[ \t]+(?:default[ \t]+)?)?(?:async[ \t]+)?function\b[* \t]*\w*[ \t]*\([\w, "
    r"\t={}\[\].]*\)[ \t]*(?:\{|$)"
    r"|(?:const|let|var)[ \t]+[\w{\[][\w, \t{}\[\]]*[ \t]*=[ \t]*\S|console\.log\(|document\.\w+|module\.exports\b"
    r"|import[ \t].*[ \t]from[ \t]+['\"]|.*=>[ \t]*\{[ \t]*$)"
)
PUNCTUATION = "( ) [ ] , . ; => function class this import export from extends const let var static ` ${"

FLOW = roles(
    name="identifier shorthand_property_identifier_pattern",
    used_name="shorthand_property_identifier",
    statements="program",
    block="statement_block class_static_block",
    let="lexical_declaration",
    var="variable_declaration",
    declarator="variable_declarator",
    assign="assignment_expression",
    augment="augmented_assignment_expression update_expression",
    pair="pair_pattern",
    member="member_expression subscript_expression",
    invocation="call_expression",
    imports="import_statement",
    wrapper="export_statement",
    function="function_declaration generator_function_declaration",
    anonymous="function_expression generator_function arrow_function method_definition",
    parameters="formal_parameters",
    class_body="class_declaration class",
    branch="if_statement ternary_expression",
    maybe="binary_expression",
    switch="switch_statement",
    case="switch_case",
    default_case="switch_default",
    loop="for_statement for_in_statement while_statement",
    loop_body_first="do_statement",
    resources="try_statement",
    handler="catch_clause",
    cleanup="finally_clause",
    leave="return_statement throw_statement",
    leave_loop="break_statement",
    next_turn="continue_statement",
)
MUTATORS = frozenset(
    b"push pop shift unshift splice sort reverse fill copyWithin set add delete clear append appendChild remove".split()
)

RULES = LanguageRules(
    name="javascript",
    aliases=("js", "jsx", "node", "nodejs", "mjs", "cjs", "ecmascript", "es6", "react", "vanilla-js"),
    grammar=wheel("tree_sitter_javascript"),
    respelled=(
        respelling(r"^[ \t]*(?:import|export)\b[^;\n]*['\"][ \t]*(assert)[ \t]*\{", "with"),
        respelling(r"^[ \t]*import[ \t]+(defer|source)[ \t]+[\w*{]"),
        respelling(r"[{;}\n][ \t]*(?:(?:static|public|private|protected|override)[ \t]+)*(accessor)[ \t]+[#\w]"),
        respelling(r"\bfor[ \t]*\([ \t]*((?:await[ \t]+)?using)[ \t]+\w", "const"),
        respelling(r"<[A-Za-z][\w.]*\b[^<>]*?\s(class|for)=", JOINED),  # attributes that React does not have
    ),
    enclosures=((b"class A{", b"}"), (b"(", b")"), (b"({", b"})")),
    punctuation=names(PUNCTUATION),
    identifier="identifier",
    string_parts=names("string regex html_character_reference"),
    leaf_unless={"template_string": b"${"},
    item_kinds=kinds(
        **{"import": "import_statement", "class": "class_declaration class_static_block", "return": "return_statement"},
        function="function_declaration generator_function_declaration method_definition",
        control=f"{CONTROL} {CLAUSES} throw_statement break_statement continue_statement",
        definition="lexical_declaration variable_declaration assignment_expression augmented_assignment_expression "
        "field_definition update_expression",
        call="call_expression await_expression new_expression",
        comment="comment html_comment hash_bang_line",
    ),
    wrappers=names("expression_statement export_statement parenthesized_expression"),
    attached=names("decorator"),
    compound=names(f"{CONTROL} {CLAUSES} function_declaration class_declaration method_definition"),
    clauses=names(CLAUSES),
    body=names(BODIES),
    opened_by={"switch_case": ":", "switch_default": ":"},
    comment=names("comment html_comment"),
    core=names(f"{NAMES} number string template_string string_fragment regex true false null undefined super jsx_text"),
    core_tokens=OPERATORS
    | names(
        "if else for while do switch case default return yield throw try catch finally break continue in of "
        "instanceof typeof "
        "new delete await void"
    ),
    not_core=names("import_statement comment html_comment hash_bang_line"),
    not_core_first=names("decorator"),
    flow=FLOW,
    mutators=MUTATORS,
    words=names(WORDS),
    signs=SIGNS,
    impossible=(
        re.compile(r"\A\s*(?:[<#]|SELECT\b|def\b|package\b|using\b)"),
        re.compile(
            r"[ \t]<-[ \t]|\bSystem\.out\b|\becho[ \t]+[\"'$]|\([ \t]*\$\w+(?:,[ \t]*\$\w+)*[ \t]*\)[ \t]*\{"
            r"|#include|\bstd::"
        ),
    ),
    evidence=names(EVIDENCE),
    shape=re.compile(SHAPE, re.MULTILINE),
)
