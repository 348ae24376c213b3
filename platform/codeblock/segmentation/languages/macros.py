"""What compilers take of C, C++ and CUDA and their grammars refuse: macros, types as arguments, dialects, newer standards.

A grammar sees no preprocessor. The stand-ins tell it what a macro's name and arguments tell a reader.
"""

from __future__ import annotations

from codeblock.segmentation.respell import JOINED, respelling

_PLAIN_TYPE = r"(?:unsigned|signed|long|short|char|int|float|double|void|bool)"

C = (
    # types as arguments of macros: va_arg(list, char *), container_of(p, struct s, member)
    respelling(r"\bva_arg\s*\([^,;]{1,80},\s*([^(),;]{0,80}[^(),;\s])\s*\)", JOINED),
    respelling(
        rf"[(,]\s*((?:(?:const\s+)?{_PLAIN_TYPE}|(?:const\s+)?(?:struct|union|enum)\s+\w+)(?:\s+{_PLAIN_TYPE})*[\s*]*)(?=[,)])",
        JOINED,
    ),
    # macros that are loops
    respelling(r"^[ \t]*(?!for_?each)(\w*(?:for_?each|FOR_?EACH)\w*)\s*\((?=[^;{}]*\)[ \t]*[^\s;])", "while"),
    # macros in the place of attributes, and those that begin or end a declaration
    respelling(r"^[ \t]*([A-Z][A-Z0-9_]{3,}(?:\([^;{}]*\))?)[ \t]*\r?$(?!\s*\{)"),
    respelling(
        r"(?<![\w.>)])([A-Z][A-Z0-9_]{2,})(?=\s+(?:(?:const|struct|enum|unsigned|static|inline|extern|long)\s+)*"
        r"[A-Za-z_]\w*(?:::\w+)*(?:<[^<>;{}()]*>)?[\s*&]+[A-Za-z_~])"
    ),
    respelling(rf"\b(?:{_PLAIN_TYPE}|[a-z]\w*_t)[\s*]+([A-Z][A-Z0-9_]{{2,}}|__\w+)(?=[ \t]+[A-Za-z_]\w*\s*[(;=])"),
    respelling(r"\([ \t]*([A-Z][A-Z0-9_]{2,})[ \t]*\*[ \t]*\w+[ \t]*\)[ \t]*\("),
    respelling(r"(?<![\w)])(_[A-Z]\w*_(?:\([^()]*\))?)(?=\s+[A-Za-z_])"),
    respelling(r"\b(__(?:init|exit|user|iomem|force|must_check|always_unused|maybe_unused|percpu|rcu)\b)"),
    # extensions of compilers
    respelling(r"\bcase\s[^:;{}\n?]{1,80}?(\.\.\.)", "+"),
    respelling(r"\bgoto\s*(\*[^;\n]*)", JOINED),
    respelling(r"\b(?:double|float)\s+(_?[Cc]omplex)\b"),
    respelling(r"\b(_Thread_local)\b"),
    respelling(r"\b(auto)[ \t]+\w+[ \t]*=", "int"),
    respelling(r"\bvoid\s+(interrupt)\s"),
)

_CUDA = (
    respelling(r"\b(__(?:global|device|host|shared|constant|managed|forceinline|noinline|grid_constant|restrict)__\b)"),
    respelling(r"\b(__(?:launch_bounds|cluster_dims|maxnreg|align|block_size)__\s*\((?:[^()]|\([^()]*\))*\))"),
    # a launch: the call of what the call with grid and block gives
    respelling(r"(<<<)[^;{}]{0,400}?(>>>)\s*\(", "(", ")"),
)

CPP = (
    *_CUDA,
    respelling(r"\bnew\s+(const\s+)?(?:(?:unsigned|struct)\s+)*[\w:]+(?:<[^<>;]*>)?\s*(\*[\s*]*)\[", "", ""),
    respelling(r"^[ \t]*(?:extern[ \t]+)?(template)[ \t]+(?!<)(?=[\w:]+[\s<])"),
    # modules
    respelling(r"^[ \t]*(export)[ \t]+(?!\{)"),
    respelling(r"^[ \t]*((?:module|import)[ \t]+(?:[\w.:]+|<[\w/.]+>|\"[^\"\n]*\"))[ \t]*;", JOINED),
    # what the standards of 2020 to 2026 added
    respelling(r"\([ \t]*(this)[ \t]+(?:const[ \t]+)?[\w:<>]+[\s&]"),
    respelling(r"\bif[ \t]+(!?[ \t]*consteval)\b", "(1)"),
    respelling(r"\)[ \t]*(?:const\b[ \t]*)?((?:pre|post)[ \t]*\([^(){};]*\))(?=[\s\w()]*[{;])"),
    respelling(r"[\w)][ \t]*:[ \t]*\d+[ \t]*(=[ \t]*[\w.]+)[ \t]*;"),
    # macros of Qt and of test frameworks in a class
    respelling(r"\b((?:Q_)?(?:signals|SIGNALS))[ \t]*:(?!:)", "public"),
    respelling(r"\b(?:public|protected|private)[ \t]+(slots|Q_SLOTS)[ \t]*:"),
    respelling(r"\b(Q_(?:OBJECT|GADGET)\b)"),
    respelling(r"^[ \t]*(Q_(?:PROPERTY|ENUM|FLAG|INTERFACES|CLASSINFO|DISABLE_COPY)\w*\([^{};]*\))[ \t;]*\r?$"),
    respelling(r"^[ \t]*TEST(?:_F|_P)?[ \t]*\([ \t]*\w+[ \t]*,[ \t]*(\w+)[ \t]*\)", JOINED),
    respelling(r"^[ \t]*([A-Z][A-Z0-9_]{4,})[ \t]+~?[A-Za-z_]\w*[ \t]*\("),
    respelling(r"\b(MOCK_(?:CONST_)?METHOD\w*\([^;{}]*\))[ \t]*;", JOINED),
    respelling(r"\b(foreach|Q_FOREACH|BOOST_FOREACH)\s*\(\s*(?:const\s+)?[\w:<>]+[\s&*]+\w+\s*(,)", "for", ":"),
    *C,
)
