"""Ruby: https://github.com/tree-sitter/tree-sitter-ruby."""

from __future__ import annotations

import re

from codeblock.segmentation.languages.rules import OPERATORS, LanguageRules, kinds, names, roles, wheel
from codeblock.segmentation.respell import respelling

_CONTROL = (
    "if unless while until for case case_match begin if_modifier unless_modifier while_modifier until_modifier rescue_modifier"
)
_CLAUSES = "elsif else when in_clause rescue ensure"

_FLOW = roles(
    name="identifier constant instance_variable class_variable global_variable",
    statements="program",
    assign="assignment",
    augment="operator_assignment",
    member="element_reference call",
    function="method",
    isolated="singleton_method",
    anonymous="lambda",
    inline="do_block block",
    parameters="method_parameters block_parameters lambda_parameters",
    class_body="class module",
    branch="if unless elsif conditional if_modifier unless_modifier",
    maybe="binary",
    switch="case case_match",
    arm="when in_clause else",
    loop="for while until while_modifier until_modifier",
    resources="begin",
    maybe_guarded="body_statement",
    handler="rescue",
    cleanup="ensure",
    first_part="scope_resolution",
    leave="return",
    leave_loop="break",
    next_turn="next",
)

RULES = LanguageRules(
    name="ruby",
    aliases=("rb", "irb", "ruby-on-rails", "rails", "rake", "erb-ruby"),
    grammar=wheel("tree_sitter_ruby"),
    respelled=(
        respelling(r"\bdef[ \t]+[\w.?!]+(?:\([^()\n]*\))?[ \t]*=[ \t]*\w+([ \t])[\"':@\w\[]", "+"),
        respelling(r"\bcase[ \t][^\n;]{1,200}?([ \t])in[ \t]", "\n"),
    ),
    punctuation=names("( ) [ ] , . ; class module def self => | -> #{"),
    identifier="identifier",
    string_parts=names("regex simple_symbol hash_key_symbol string_array symbol_array character heredoc_beginning"),
    leaf_unless={"string": b"#{", "heredoc_body": b"#{", "delimited_symbol": b"#{"},
    item_kinds=kinds(
        **{"class": "class module singleton_class", "return": "return yield"},
        function="method singleton_method",
        control=f"{_CONTROL} {_CLAUSES} break next redo retry",
        definition="assignment operator_assignment alias",
        call="call super",
        comment="comment",
    ),
    wrappers=names("parenthesized_statements"),
    trailing=names("heredoc_body"),
    compound=names(f"{_CONTROL} {_CLAUSES} class module method singleton_method do_block block"),
    clauses=names(_CLAUSES),
    body=names("body_statement then do block_body begin else ensure"),
    comment=names("comment"),
    core=names(
        "identifier constant instance_variable class_variable global_variable integer float rational complex string "
        "simple_symbol "
        "hash_key_symbol delimited_symbol regex string_content escape_sequence true false nil super string_array "
        "symbol_array "
        "character heredoc_body heredoc_content heredoc_beginning"
    ),
    core_tokens=OPERATORS
    | names(
        "if elsif else unless while until for in case when return yield begin rescue ensure retry break next and or not "
        "=~ !~ <=> .. ... &. :: defined? raise"
    ),
    not_core=names("comment"),
    flow=_FLOW,
    binding="assigned",
    mutators=frozenset(
        b"push pop shift unshift append prepend insert delete clear concat merge! map! sort! reverse! add".split()
    ),
    words=names("def end puts do elsif require attr_accessor nil each gets chomp initialize unless module class to_i to_s"),
    signs=("puts ", ".each", " do |", "#{", "\nend", ".to_i", "@", ".new", "elsif ", ".nil?", ".map {", "{ |", "{|"),
    impossible=(
        re.compile(r"\A\s*(?:[<$]|SELECT\b|function\b|#include|public\b|using\b)"),
        re.compile(
            r";[ \t]*\n.*;[ \t]*\n|^[ \t]*(?:(?:else|try|do)[ \t]*\{|(?:echo|fi|done|function|func|fn|var|let|const)\b)",
            re.MULTILINE,
        ),
    ),
    evidence=names(f"{_CONTROL} class module method singleton_method call assignment operator_assignment"),
    shape=re.compile(
        r"^[ \t]*(?:def[ \t]+[\w.?!=]+(?:[ \t]*\(.*\))?[ \t]*$|end[ \t]*$|puts?[ \t(]"
        r"|require(?:_relative)?[ \t]+['\"]|attr_\w+[ \t]+:"
        r"|.*\bdo[ \t]*(?:\|.*\|)?[ \t]*$|.*\{[ \t]*\|.*\||(?:[\w@]+[ \t]*=[ \t]*)?gets\b|.*\.(?:each|map|select|new"
        r"|nil\?|to_i|chomp)\b)",
        re.MULTILINE,
    ),
    needs_shape=True,
)
