"""C++: https://github.com/tree-sitter/tree-sitter-cpp."""

from __future__ import annotations

import re
from dataclasses import replace

from codeblock.segmentation.languages import c, macros
from codeblock.segmentation.languages.rules import OPERATORS, kinds, names, roles, wheel

_CLASSES = f"{c.CLASSES} class_specifier"
_CLAUSES = f"{c.CLAUSES} catch_clause"
_CONTROL = f"{c.CONTROL} for_range_loop try_statement"

_FLOW = roles(
    name="identifier field_identifier",
    used_name="type_identifier namespace_identifier",
    wrapper="namespace_definition template_declaration",
    let="declaration field_declaration",
    this_member="field_expression",
    function="function_definition",
    anonymous="lambda_expression",
    class_body="struct_specifier union_specifier enum_specifier class_specifier",
    alias_name="type_definition preproc_def preproc_function_def alias_declaration concept_definition",
    loop="for_statement while_statement for_range_loop",
    import_path="using_declaration",
    resources="try_statement",
    handler="catch_clause",
    leave="return_statement throw_statement throw_expression co_return_statement",
)

RULES = replace(
    c.RULES,
    name="cpp",
    aliases=("c++", "cxx", "cc", "hpp", "hxx", "c++11", "c++14", "c++17", "c++20", "cpp11", "cpp17", "cuda", "cu"),
    grammar=wheel("tree_sitter_cpp"),
    respelled=macros.CPP,
    enclosures=((b"{", b"}"), (b"class A{", b"};")),
    punctuation=names("( ) [ ] , . ; struct union enum typedef ... class template typename namespace using this"),
    string_parts=c.RULES.string_parts | names("raw_string_literal user_defined_literal"),
    item_kinds={
        **c.RULES.item_kinds,
        **kinds(
            **{
                "import": "using_declaration import_declaration",
                "class": f"{_CLASSES} namespace_definition concept_definition",
            },
            control=f"{_CONTROL} {_CLAUSES} throw_statement throw_expression",
            definition="alias_declaration namespace_alias_definition",
            **{"return": "co_return_statement co_yield_statement"},
        ),
    },
    wrappers=c.RULES.wrappers | names("template_declaration linkage_specification"),
    attached=names("access_specifier template_parameter_list"),
    compound=c.RULES.compound | names(f"{_CONTROL} {_CLAUSES} {_CLASSES} namespace_definition template_declaration"),
    clauses=names(_CLAUSES),
    core=c.RULES.core | names("raw_string_literal user_defined_literal namespace_identifier"),
    core_tokens=OPERATORS | names(f"{c.KEYWORDS} -> throw try catch new delete and or not co_await co_return co_yield <=> ::"),
    not_core=c.RULES.not_core
    | names(
        "using_declaration access_specifier virtual_specifier template_parameter_list template_argument_list "
        "placeholder_type_specifier base_class_clause trailing_return_type noexcept explicit_function_specifier "
        "template_type "
        "decltype lambda_default_capture"
    ),
    not_core_fields=frozenset(),
    not_core_first=names("pointer_declarator reference_declarator"),
    called={**dict.fromkeys(_CLASSES.split(), "name"), "new_expression": "type"},
    flow={**c.FLOW, **_FLOW},
    not_a_use=frozenset({"field"}),
    mutators=frozenset(
        b"push_back pop_back emplace_back emplace insert erase clear push pop resize assign append push_front pop_front".split()
    ),
    words=names(
        "include iostream std cout cin endl vector namespace using template class string nullptr int void main const "
        "auto bool "
        "struct unordered_map push_back public private double char"
    ),
    signs=(
        "std::",
        "cout <<",
        "cout<<",
        "cin >>",
        "#include <iostream",
        "#include<iostream",
        "vector<",
        "using namespace",
        "::",
    ),
    impossible=(
        re.compile(r"\A\s*(?:<|SELECT\b|def\b|using System|function\b|package\b|import\b)"),
        re.compile(
            r"\bString\b|\bfunction\b|\bconsole\.|\blet\b|\bpublic[ \t]+(?:static|class)\b|\bfunc\b|\bfn\b|=>|\bConsole\."
        ),
    ),
    evidence=c.RULES.evidence | names(f"{_CONTROL} {_CLASSES} using_declaration template_declaration namespace_definition"),
    shape=re.compile(
        c.RULES.shape.pattern
        + r"|^[ \t]*(?:#[ \t]*include[ \t]*<\w+>|using[ \t]+namespace[ \t]+\w+;|(?:std::)?(?:cout|cin)[ \t]*(?:<<|>>)"
        r"|template[ \t]*<|(?:std::)?(?:vector|string|map)\b.*[;{)][ \t]*$|(?:bool"
        r"|auto)[ \t]+\w+[ \t]*\(.*\)[ \t]*\{?[ \t]*$)",
        re.MULTILINE,
    ),
)
