"""C#: https://github.com/tree-sitter/tree-sitter-c-sharp."""

from __future__ import annotations

import re

from codeblock.segmentation.languages.rules import OPERATORS, LanguageRules, kinds, names, roles, wheel
from codeblock.segmentation.respell import respelling

_CONTROL = (
    "if_statement for_statement foreach_statement while_statement do_statement switch_statement try_statement "
    "using_statement "
    "lock_statement checked_statement unsafe_statement fixed_statement labeled_statement"
)
_CLAUSES = "catch_clause finally_clause switch_section switch_expression_arm"
_CLASSES = (
    "class_declaration interface_declaration enum_declaration struct_declaration record_declaration namespace_declaration "
    "file_scoped_namespace_declaration delegate_declaration"
)
_FUNCTIONS = (
    "method_declaration constructor_declaration destructor_declaration operator_declaration "
    "conversion_operator_declaration "
    "local_function_statement indexer_declaration"
)
_PROPERTIES = "property_declaration accessor_declaration event_declaration"
_TYPES = (
    "predefined_type implicit_type nullable_type array_type generic_name type_argument_list type_parameter_list "
    "base_list modifier "
    "type_parameter_constraints_clause pointer_type tuple_type ref_type"
)

_FLOW = roles(
    name="identifier implicit_parameter",
    statements="compilation_unit",
    block="block",
    wrapper="namespace_declaration declaration_list file_scoped_namespace_declaration global_statement",
    let="variable_declaration property_declaration",
    declarator="variable_declarator",
    assign="assignment_expression",
    update="postfix_unary_expression prefix_unary_expression",
    this_member="member_access_expression",
    member="element_access_expression",
    invocation="invocation_expression",
    import_path="using_directive",
    function="method_declaration local_function_statement",
    anonymous="constructor_declaration lambda_expression anonymous_method_expression operator_declaration",
    parameters="parameter_list catch_declaration",
    class_body="class_declaration struct_declaration interface_declaration record_declaration enum_declaration",
    capture="declaration_pattern declaration_expression",
    branch="if_statement conditional_expression",
    maybe="binary_expression",
    switch="switch_statement switch_expression",
    arm="switch_section switch_expression_arm",
    loop="for_statement foreach_statement while_statement",
    loop_body_first="do_statement",
    resources="try_statement",
    scoped="using_statement",
    handler="catch_clause",
    cleanup="finally_clause",
    leave="return_statement throw_statement",
    leave_loop="break_statement",
    next_turn="continue_statement",
)

RULES = LanguageRules(
    name="csharp",
    aliases=("c#", "cs", "c-sharp", "dotnet", ".net"),
    grammar=wheel("tree_sitter_c_sharp"),
    respelled=(
        respelling(r"^(#:)", "//"),  # directives of programs in one file
        respelling(r"\b(extension[ \t]*(?:<[^<>]*>)?[ \t]*\([^()]*\))(?=\s*\{)", "class E"),
        respelling(r"(\?)\.[\w.]+[ \t]*(?:[-+*/|&]|\?\?)?=[^=>]"),
        respelling(r"[\[,]\s*(\.\.)\s*var\b"),
    ),
    enclosures=((b"class A{", b"}"),),
    punctuation=names("( ) [ ] , . ; => class interface enum struct record namespace this using delegate"),
    identifier="identifier",
    string_parts=names("string_literal verbatim_string_literal raw_string_literal character_literal"),
    item_kinds=kinds(
        **{"import": "using_directive extern_alias_directive", "class": _CLASSES, "return": "return_statement yield_statement"},
        function=_FUNCTIONS,
        control=f"{_CONTROL} {_CLAUSES} throw_statement break_statement continue_statement goto_statement",
        definition="field_declaration local_declaration_statement assignment_expression enum_member_declaration "
        f"postfix_unary_expression prefix_unary_expression event_field_declaration {_PROPERTIES}",
        call="invocation_expression await_expression object_creation_expression",
        comment="comment",
    ),
    wrappers=names("expression_statement global_statement parenthesized_expression"),
    compound=names(f"{_CONTROL} {_CLAUSES} {_CLASSES} {_FUNCTIONS} {_PROPERTIES}"),
    clauses=names("catch_clause finally_clause"),
    clause_tokens=names("else"),
    body=names("block declaration_list switch_body accessor_list enum_member_declaration_list"),
    opened_by={"switch_section": ":"},
    comment=names("comment"),
    core=names(
        "identifier integer_literal real_literal string_literal verbatim_string_literal raw_string_literal "
        "character_literal "
        "boolean_literal null_literal string_content escape_sequence"
    ),
    core_tokens=OPERATORS
    | names(
        "if else for foreach in while do switch case default when return yield throw try catch finally break "
        "continue goto is as "
        "new await typeof nameof base"
    ),
    not_core=names(f"using_directive extern_alias_directive comment {_TYPES}"),
    not_core_fields=names("type returns"),
    called={"object_creation_expression": "type", "array_creation_expression": "type"},
    flow=_FLOW,
    mutators=frozenset(b"Add AddRange Remove RemoveAt Clear Insert Push Pop Enqueue Dequeue Sort Reverse Append".split()),
    words=names(
        "using System Console WriteLine ReadLine namespace string var foreach public static void class private int "
        "bool Linq "
        "Generic get set List Main override decimal orderby IEnumerable Length ToCharArray Select Where"
    ),
    signs=(
        "Console.",
        "using System",
        "foreach (",
        "= from ",
        "{ get;",
        "foreach(",
        ".Length;",
        ".ToString(",
        "string[]",
        "public string",
        ".Add(",
    ),
    impossible=(
        re.compile(r"\A\s*(?:<|SELECT\b|def\b|package\b|import\b|function\b|#include)"),
        re.compile(
            r"\bSystem\.out\b|\bboolean\b|\bfunction\b|\bstd::|\bcout\b|\bfunc\b|\bfn\b|\bconsole\.|\bextends\b|\bimport\b"
        ),
    ),
    evidence=names(
        f"{_CONTROL} {_CLASSES} {_FUNCTIONS} {_PROPERTIES} using_directive local_declaration_statement "
        f"assignment_expression "
        "invocation_expression return_statement"
    ),
    shape=re.compile(
        r"^[ \t]*(?:using[ \t]+System|Console\.\w+\(|namespace[ \t]+[\w.]+[ \t]*\{?[ \t]*$"
        r"|foreach[ \t]*\(\w+[ \t]+\w+[ \t]+in\b"
        r"|.*=[ \t]*\(?from[ \t]+\w+[ \t]+in[ \t]+[\w.]+|.*\byield[ \t]+(?:return|break)\b"
        r"|.*\bIEnumerable<|.*=>[ \t]*new[ \t]*\{"
        r"|.*\.(?:ToCharArray|Length)\b.*;[ \t]*$"
        r"|public[ \t]+(?:static[ \t]+)?(?:string|bool|int|void|class|List<\w+>)[ \t]+\w+)",
        re.MULTILINE,
    ),
    needs_shape=True,
)
