"""How code stands in a text: Markdown fences, tags, quotes, HTML, thoughts. Data and answers are read by the same rules.

Knows no grammar: where a text can be read in two ways, what parses decides, and a `Judge` says what parses.
"""

from codeblock.core.markdown.fences import Fenced, Judge, fenced_blocks, fences_of
from codeblock.core.markdown.info import LANGUAGES, PYTHON, tag_of, tag_on_own_line
from codeblock.core.markdown.wrappers import decode_html, html_blocks, said_after_thoughts, tagged_blocks, unquote

__all__ = [
    "LANGUAGES",
    "PYTHON",
    "Fenced",
    "Judge",
    "decode_html",
    "fenced_blocks",
    "fences_of",
    "html_blocks",
    "said_after_thoughts",
    "tag_of",
    "tag_on_own_line",
    "tagged_blocks",
    "unquote",
]
