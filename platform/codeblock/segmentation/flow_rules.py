"""The flow table of a language, by the numbers of its grammar."""

from __future__ import annotations

from typing import Any

from codeblock.segmentation.tree import Grammar

NOTHING, NAME, CLOSURE, COMPREHENSION, WALRUS, TARGET, CALL, MAYBE = range(8)

_IN_EXPRESSIONS = {
    "name": NAME,
    "used_name": NAME,
    "closure": CLOSURE,
    "comprehension": COMPREHENSION,
    "walrus": WALRUS,
    "target": TARGET,
    "call": CALL,
    "maybe_here": MAYBE,
}
# roles that are no method: what the methods look for
_CLASSES = (
    "arm",
    "case",
    "cleanup",
    "declarator",
    "default_case",
    "for_clause",
    "function_body",
    "handler",
    "member",
    "otherwise",
    "otherwise_if",
    "pair",
    "parameters",
    "pattern",
    "pattern_class",
    "pattern_key",
    "pattern_name",
    "type",
    "wrapper",
)
_SHORT = frozenset({"&&", "||", "??", "?:", "and", "or"})
_NO_UPDATE = frozenset({"=", "==", "!=", "<=", ">=", ":=", "===", "!==", "?="})
# parts of a pattern that are used, not bound
_OUTSIDE = ("type", "value", "right", "default_value", "size", "parameters", "return_type", "bounds", "trait", "condition")


class FlowRules:
    """The flow table of a language, by the numbers of its grammar."""

    def __init__(self, grammar: Grammar) -> None:
        rules = grammar.rules
        count = len(grammar.type_of)
        self.has_flow = rules.has_flow
        self.has_blocks = rules.binding != "python"
        self.assignment_declares = rules.binding == "assigned"
        self.statement = ["scan"] * count
        self.special = [NOTHING] * count
        roles: dict[str, set[str]] = {}
        for name, role in rules.flow.items():
            roles.setdefault(role, set()).add(name)
        for role, names in roles.items():
            for kind in grammar.ids(names):
                if role in _IN_EXPRESSIONS:
                    self.special[kind] = _IN_EXPRESSIONS[role]
                elif role not in _CLASSES:
                    self.statement[kind] = role
        self.methods: dict[type, list[Any]] = {}  # what walks each node type, by class of walk; filled by the first
        self.without_calls = [NOTHING if what == CALL else what for what in self.special]
        ids = {
            role: grammar.ids(roles.get(role, set())) for role in (*_CLASSES, "name", "function", "class_body", "this_member")
        }
        self.case, self.arm = ids["case"] | ids["default_case"] | ids["arm"], ids["arm"]
        self.handler, self.this_member = ids["handler"], ids["this_member"]
        self.cleanup, self.otherwise = ids["cleanup"], ids["otherwise"]
        self.member, self.for_clause = ids["member"] | ids["this_member"], ids["for_clause"]
        self.pattern, self.pattern_class = ids["pattern"], ids["pattern_class"]
        self.pattern_key, self.pattern_name = ids["pattern_key"], ids["pattern_name"]
        self.default_case, self.otherwise_if = ids["default_case"], ids["otherwise_if"]
        self.declarator, self.parameters, self.pair = ids["declarator"], ids["parameters"], ids["pair"]
        self.wrapper, self.bindable = ids["wrapper"], ids["name"]
        self.type, self.function_body = ids["type"], ids["function_body"]
        self.definition = ids["function"] | ids["class_body"]
        updates = {name for name in grammar.type_of if name.endswith("=") and name not in _NO_UPDATE}
        self.update = grammar.ids(updates, named=False)
        self.short = grammar.ids(_SHORT, named=False)
        self.identifier = min(grammar.ids({rules.identifier}))
        self.body = grammar.body
        self.mutators = rules.mutators
        self.not_a_use = frozenset(grammar.field(name) for name in rules.not_a_use)
        self.outside = frozenset(grammar.field(name) for name in _OUTSIDE) - {-1}
        self._fields(grammar)

    def _fields(self, grammar: Grammar) -> None:
        self.f_left, self.f_right, self.f_type = map(grammar.field, ("left", "right", "type"))
        self.f_condition, self.f_consequence = grammar.field("condition"), grammar.field("consequence")
        self.f_alternative, self.f_subject = grammar.field("alternative"), grammar.field("subject")
        self.f_name, self.f_parameters = grammar.field("name"), grammar.field("parameters")
        self.f_return_type, self.f_value = grammar.field("return_type"), grammar.field("value")
        self.f_type_parameters = grammar.field("type_parameters")
        self.f_superclasses, self.f_alias = grammar.field("superclasses"), grammar.field("alias")
        self.f_attribute, self.f_guard = grammar.field("attribute"), grammar.field("guard")
        self.f_body, self.f_kind, self.f_declarator = map(grammar.field, ("body", "kind", "declarator"))
        self.f_parameter, self.f_argument = grammar.field("parameter"), grammar.field("argument")
        self.f_target = tuple(map(grammar.field, ("name", "pattern", "left", "declarator", "variable")))
        self.f_each = tuple(map(grammar.field, ("left", "pattern", "name", "declarator", "variable")))
        self.f_callee = tuple(map(grammar.field, ("name", "method")))
        self.f_variable, self.f_path = grammar.field("variable"), grammar.field("path")
        self.f_step = tuple(map(grammar.field, ("increment", "update")))
        self.f_object = tuple(map(grammar.field, ("object", "receiver", "scope")))
