"""The flow table of a language, by the numbers of its grammar."""

from __future__ import annotations

from codeblock.segment.tree import Grammar

NOTHING, NAME, CLOSURE, COMPREHENSION, WALRUS, TARGET, CALL, MAYBE = range(8)

_IN_EXPRESSIONS = {
    "name": NAME,
    "closure": CLOSURE,
    "comprehension": COMPREHENSION,
    "walrus": WALRUS,
    "target": TARGET,
    "call": CALL,
    "maybe": MAYBE,
}
# roles that are no method: what the methods look for
_CLASSES = (
    "case",
    "handler",
    "cleanup",
    "otherwise",
    "member",
    "for_clause",
    "pattern",
    "pattern_class",
    "pattern_key",
    "pattern_name",
)


class FlowRules:
    """The flow table of a language, by the numbers of its grammar."""

    def __init__(self, grammar: Grammar) -> None:
        rules = grammar.rules
        count = len(grammar.type_of)
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
        self.roles = frozenset(self.statement)
        self.without_calls = [NOTHING if what == CALL else what for what in self.special]
        ids = {role: grammar.ids(roles.get(role, set())) for role in _CLASSES}
        self.case, self.handler = ids["case"], ids["handler"]
        self.cleanup, self.otherwise = ids["cleanup"], ids["otherwise"]
        self.member, self.for_clause = ids["member"], ids["for_clause"]
        self.pattern, self.pattern_class = ids["pattern"], ids["pattern_class"]
        self.pattern_key, self.pattern_name = ids["pattern_key"], ids["pattern_name"]
        self.identifier = min(grammar.ids({rules.identifier}))
        self.body = grammar.body
        self.mutators = rules.mutators
        self.not_a_use = frozenset(grammar.field(name) for name in rules.not_a_use)
        self.f_left, self.f_right, self.f_type = map(grammar.field, ("left", "right", "type"))
        self.f_condition, self.f_consequence = grammar.field("condition"), grammar.field("consequence")
        self.f_alternative, self.f_subject = grammar.field("alternative"), grammar.field("subject")
        self.f_name, self.f_parameters = grammar.field("name"), grammar.field("parameters")
        self.f_return_type, self.f_value = grammar.field("return_type"), grammar.field("value")
        self.f_type_parameters = grammar.field("type_parameters")
        self.f_superclasses, self.f_alias = grammar.field("superclasses"), grammar.field("alias")
        self.f_attribute, self.f_guard = grammar.field("attribute"), grammar.field("guard")
