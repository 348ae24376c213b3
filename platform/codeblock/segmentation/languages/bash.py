"""Bash and other shells: https://github.com/tree-sitter/tree-sitter-bash."""

from __future__ import annotations

import re

from codeblock.segmentation.languages.rules import OPERATORS, LanguageRules, kinds, names, roles, wheel
from codeblock.segmentation.respell import JOINED, respelling

_CONTROL = "if_statement for_statement c_style_for_statement while_statement case_statement"

_FLOW = roles(
    name="variable_name",
    statements="program",
    wrapper="redirected_statement",
    assign="variable_assignment",
    update="postfix_expression",
    command="command",
    local="declaration_command",
    member="subscript",
    function="function_definition",
    chain="if_statement",
    otherwise_if="elif_clause",
    otherwise="else_clause",
    maybe="list",
    switch="case_statement",
    arm="case_item",
    loop="for_statement while_statement c_style_for_statement",
)

RULES = LanguageRules(
    name="bash",
    aliases=("sh", "shell", "zsh", "ksh", "shell-script", "shellscript", "console", "shell-session", "terminal", "dash"),
    grammar=wheel("tree_sitter_bash"),
    respelled=(
        respelling(r"(?<=[\s/\w.\"'#%])([!@?*+]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*\))", JOINED),  # extglob
        respelling(r"\$\{[\w@*]+(?:\[[^\]\n]*\])?:(?![-+?=])[^{}\n]*?(\$)\w", "_"),  # `${text:$from:$length}`
        respelling(r"\b\d+#(\$)\w", "_"),
        respelling(r"\d(<>)", ">"),
    ),
    punctuation=names('[ ] [[ ]] ; " function `') | {"\n"},
    identifier="variable_name",
    string_parts=names("raw_string ansi_c_string heredoc_start heredoc_end"),
    leaf_unless={"string": b"$"},
    read_as={"compound_statement": (b"((", "arithmetic_expansion")},
    item_kinds=kinds(
        function="function_definition",
        control=f"{_CONTROL} elif_clause else_clause case_item test_command list",
        definition="variable_assignment variable_assignments declaration_command unset_command",
        call="command pipeline subshell negated_command",
        comment="comment",
    ),
    wrappers=names("redirected_statement"),
    compound=names(f"{_CONTROL} elif_clause else_clause case_item function_definition"),
    clauses=names("elif_clause else_clause"),
    body=names("do_group compound_statement subshell"),
    opened_by={"if_statement": "then", "elif_clause": "then", "else_clause": "else", "case_item": ")", "case_statement": "in"},
    comment=names("comment"),
    core=names(
        "variable_name special_variable_name word number string raw_string ansi_c_string string_content "
        "test_operator regex "
        "extglob_pattern heredoc_content file_descriptor"
    ),
    core_tokens=OPERATORS | names("if then elif else for while until do case in select && || | |& > >> < << <<< >& &> ;& ;;&"),
    not_core=names("comment heredoc_start heredoc_end"),
    flow=_FLOW,
    words=names("echo fi done then esac elif read bin bash sudo grep awk sed cd mkdir ls rm cat export local"),
    signs=("#!/bin/", "echo ", "; then", "; do", "\nfi", "\ndone", "$(", "${", "[ -", "$1", "| grep"),
    impossible=(
        re.compile(
            r"\A\s*(?:<|SELECT\b|def\b|function[ \t]*\w*[ \t]*\([ \t]*\w|#include|public\b|using\b|import\b"
            r"|class\b)"
        ),
        re.compile(
            r";[ \t]*\n.*;[ \t]*\n|^[ \t]*(?:def|class|func|fn|var|let|const|public|private|puts|end)\b"
            r"|^[ \t]*\}[ \t]*else",
            re.MULTILINE,
        ),
    ),
    evidence=names(f"{_CONTROL} command function_definition variable_assignment pipeline"),
    shape=re.compile(
        r"^(?:#!/(?:usr/)?bin/(?:env[ \t]+)?\w*sh\b|[ \t]*(?:echo[ \t]+[\"'$\w-]|if[ \t]+\[{1,2}[ \t]"
        r"|for[ \t]+\w+[ \t]+in[ \t].*;[ \t]*do[ \t]*$"
        r"|while[ \t]+.*;[ \t]*do[ \t]*$|fi[ \t]*$|done\b|\w+=\$\(|(?:sudo|cd|mkdir|rm|ls|grep|awk|sed|find|curl"
        r"|wget|tar|chmod|cp|mv|git|apt|apt-get"
        r"|pip|pip3|npm|npx|docker|python3?|kubectl|brew|cat|sort|ssh|scp|systemctl|export)[ \t]+[\w./~$\"'{*-]))",
        re.MULTILINE,
    ),
    needs_shape=True,
)
