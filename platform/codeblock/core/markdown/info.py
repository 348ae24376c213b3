"""Which language the info string of a fence names, in the spellings of Markdown's many dialects."""

from __future__ import annotations

import re
from collections.abc import Callable

_WORD = re.compile(r"[^\s,:;{}()\[\]<>=\"'`.]+(?:\.[^\s,:;{}()\[\]<>=\"'`.]+)*")
_ATTRIBUTE = re.compile(r"(?P<key>[\w.#:-]+)[ \t]*=[ \t]*(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)'|(?P<bare>[^\s,}\"']+))")
_BRACES = re.compile(r"\{[\d,\s-]*\}|\[[\d,\s-]*\]|(?<![\w.-])\d+(?:[-,]\d+)*(?![\w.-])")
_PREFIX = re.compile(r"(?:language|lang|highlight-source)-(?=\w)")
_VERSION = re.compile(r"-?\d+(?:\.\w+)*$")
_NAMING = ("lang", "language", "class", "syntax")
_FILES = {
    "py": "python",
    "pyw": "python",
    "ipynb": "python",
    "js": "javascript",
    "mjs": "javascript",
    "jsx": "jsx",
    "ts": "typescript",
    "tsx": "tsx",
    "java": "java",
    "c": "c",
    "h": "c",
    "cpp": "cpp",
    "cc": "cpp",
    "hpp": "cpp",
    "cu": "cuda",
    "cs": "csharp",
    "go": "go",
    "rs": "rust",
    "rb": "ruby",
    "php": "php",
    "kt": "kotlin",
    "sh": "bash",
    "sql": "sql",
    "html": "html",
    "css": "css",
    "json": "json",
    "yml": "yaml",
    "yaml": "yaml",
    "toml": "toml",
    "xml": "xml",
    "md": "markdown",
    "txt": "text",
    "r": "r",
    "swift": "swift",
}
"""Languages by the ending of a file that a fence names."""
_OWN_LINE = re.compile(
    r"\s*?^[ \t]*(?P<tag>[A-Za-z][\w+#.-]*)[ \t]*:?[ \t]*\r?\n(?:[ \t]*Copy(?: code)?[ \t]*\r?\n)?", re.MULTILINE
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PYTHON = _words("python python3 python2 py py3 py2 python-3 python3.x ipython ipython3 pycon python-repl sage")
"""Tags of blocks of Python."""

LANGUAGES = PYTHON | _words(
    "javascript js node jsx typescript ts tsx java c cpp c++ cxx csharp c# cs go golang rust rs ruby rb php kotlin kt bash sh "
    "shell zsh console powershell ps1 bat cmd sql mysql postgresql postgres plsql sqlite html xml svg css scss sass less json "
    "jsonc json5 yaml yml toml ini dockerfile docker makefile r swift perl scala haskell hs lua dart julia matlab octave "
    "objective-c objectivec objc graphql protobuf vue svelte elixir erlang clojure lisp scheme racket fortran cobol pascal vb "
    "vbnet vba groovy solidity verilog vhdl assembly asm nasm latex tex markdown md mdx rst diff nginx terraform hcl zig nim "
    "ocaml fsharp f# cuda text plaintext plain txt"
)
"""Words that name a language wherever they stand in an info string; any other first word is taken as a tag too."""

Known = Callable[[str], bool]


def tag_of(info: str, known: Known) -> str | None:
    """The language that an info string names, as it is written; None where it names none.

    That is the first word that is `known` as a language, else the ending of a file that is named (`main.py`,
    `title="main.py"`), else the first word: `python title="a.py"`, `{.python .numberLines}`, `{python}`, `py:main.py`,
    `{code-cell} ipython3`, `language-python`, `python3.11`, `12:15:src/main.py`.
    """
    files: list[str] = []

    def attribute(found: re.Match[str]) -> str:
        value: str = found["double"] or found["single"] or found["bare"] or ""
        if found["key"].lower() in _NAMING:
            return f" {value} "
        files.append(value)
        return " "

    info = _BRACES.sub(" ", _ATTRIBUTE.sub(attribute, _PREFIX.sub("", info)))
    words = _WORD.findall(info)
    for word in words:
        if known(word):
            return str(word)
        if known(bare := _VERSION.sub("", word)) and bare:
            return bare
    for name in (*words, *files):
        if "." in name and (language := _FILES.get(name.rpartition(".")[2].lower())):
            return language
    return words[0] if words else None


def tag_on_own_line(code: str, known: Known) -> tuple[str, int] | None:
    """The language that the first line of an untagged block names and nothing else, and how many characters to skip.

    Pages copied from chats have `python` and `Copy code` in lines of their own.
    """
    found = _OWN_LINE.match(code)
    return (found["tag"], found.end()) if found and known(found["tag"]) else None


def is_tag(info: str, known: Known) -> bool:
    """Whether an info string can open a block: no words of a sentence behind a closing fence."""
    if not info:
        return False
    words = info.split()
    one_word = len(words) == 1 and info[-1] not in ".!?,;:"
    return one_word or info[0] in "{[" or known(words[0]) or _ATTRIBUTE.search(info) is not None
