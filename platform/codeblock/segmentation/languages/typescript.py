"""TypeScript and TSX: https://github.com/tree-sitter/tree-sitter-typescript."""

from __future__ import annotations

import re
from dataclasses import replace

from codeblock.segmentation.languages import javascript
from codeblock.segmentation.languages.rules import LanguageRules, kinds, names, roles, wheel
from codeblock.segmentation.respell import respelling

_TYPES = (
    "type_annotation type_arguments type_parameters accessibility_modifier override_modifier asserts_annotation "
    "type_predicate_annotation implements_clause extends_type_clause type_identifier predefined_type generic_type "
    "union_type conditional_type index_type_query lookup_type infer_type readonly_type opting_type_annotation "
    "omitting_type_annotation adding_type_annotation mapped_type_clause template_literal_type "
    "array_type object_type function_type type_query literal_type tuple_type intersection_type nested_type_identifier"
)
_CLASSES = "class_declaration abstract_class_declaration interface_declaration enum_declaration type_alias_declaration"
_FUNCTIONS = (
    "function_declaration generator_function_declaration method_definition function_signature method_signature "
    "abstract_method_signature"
)

RULES = replace(
    javascript.RULES,
    name="typescript",
    aliases=("ts", "mts", "cts", "angular"),
    grammar=wheel("tree_sitter_typescript", "language_typescript"),
    respelled=(
        *javascript.RULES.respelled,
        respelling(r"[<,]\s*(?:const\s+)?((?:in\s+out|in|out)\s)\s*\w+\s*(?:[,>=]|extends\b)"),  # variance
        respelling(r"^[ \t]*export[ \t]+(type)[ \t]+\*"),
        respelling(r"[\[,]\s*(?:\w+\s*:\s*)?['\"`][^'\"`\n]*['\"`](\?)(?=\s*[,\]])"),  # optional literals in tuples
    ),
    item_kinds={
        **javascript.RULES.item_kinds,
        **kinds(
            **{"class": f"{_CLASSES} internal_module module"},
            function=_FUNCTIONS,
            definition="public_field_definition property_signature enum_assignment",
            **{"import": "import_alias"},
        ),
    },
    wrappers=javascript.RULES.wrappers | names("ambient_declaration"),
    attached=names("decorator"),
    compound=javascript.RULES.compound | names(f"{_CLASSES} {_FUNCTIONS}"),
    body=names(f"{javascript.BODIES} interface_body enum_body"),
    not_core=javascript.RULES.not_core | names(f"{_TYPES} import_alias"),
    not_core_first=names("decorator"),
    marks=dict.fromkeys(
        (
            "optional_parameter",
            "property_signature",
            "method_signature",
            "abstract_method_signature",
            "method_definition",
            "public_field_definition",
            "variable_declarator",
        ),
        "? !",
    ),
    called={
        **dict.fromkeys(_CLASSES.split(), "name"),
        "type_alias_declaration": "name",
    },
    flow={
        **javascript.FLOW,
        **roles(
            used_name="type_identifier",
            function="function_signature",
            anonymous="method_signature abstract_method_signature",
            class_body="abstract_class_declaration interface_declaration enum_declaration type_alias_declaration",
        ),
    },
    words=names(
        "interface readonly implements string number boolean any void enum namespace abstract private public "
        "protected unknown "
        "declare keyof Observable constructor"
    ),
    signs=(": string", ": number", ": boolean", ": any", ": void", "?: ", "<string>", " as ", "import {", "const ", "=> "),
    impossible=(*javascript.RULES.impossible, re.compile(r"\bSystem\.|#include|\bfunc\b|\bfn\b|\busing\b|\bstd::")),
    evidence=names(f"{javascript.EVIDENCE} {_CLASSES} {_FUNCTIONS} ambient_declaration"),
    shape=re.compile(
        r"^[ \t]*(?:export[ \t]+)?(?:interface[ \t]+\w+.*\{[ \t]*$|type[ \t]+\w+[ \t]*=|(?:const|let|var)[ \t]+\w+:[ \t]*\w"
        r"|(?:async[ \t]+)?function[ \t]+\w+(?:<.*>)?\(.*\w\??:[ \t]*\w.*\)"
        r"|constructor\([^)]*\b(?:private|public|readonly|protected)[ \t]"
        r"|(?:private|public|readonly|protected)[ \t]+\w+\??:[ \t]*\w|.*\w\??:[ \t]*(?:string|number|boolean|any"
        r"|void)\b(?!['\"]))",
        re.MULTILINE,
    ),
    needs_shape=True,
)

TSX: LanguageRules = replace(
    RULES,
    name="tsx",
    aliases=("typescriptreact", "typescript-react"),
    grammar=wheel("tree_sitter_typescript", "language_tsx"),
    signs=("</", "/>"),
    words=names("React useState props JSX"),
    shape=re.compile(r"</\w+>|/>"),
)
