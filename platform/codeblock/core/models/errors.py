"""Why a model or a tokenizer cannot be loaded, in one line: the thing, the place, the remedy."""

from __future__ import annotations

import os
import socket
from importlib.metadata import version
from pathlib import Path

from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import places

CUT = 200
"""Characters of another library's message that are passed on."""

DAMAGED = ("SafetensorError", "UnpicklingError", "EOFError", "BadZipFile", "JSONDecodeError", "UnicodeDecodeError")

REMEDIES: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("gated repo", "gated", "401 client", "403 client"), "the hub asks who you are",
     "accept its terms at https://huggingface.co/{path}, then set HF_TOKEN or run `hf auth login`"),
    (("couldn't connect", "offline", "connection error", "name or service not known", "timed out"), "the hub cannot be reached",
     "check the network, or download it elsewhere (`hf download {path} --local-dir DIR`) and name that directory"),
    (("custom code", "trust_remote_code"), "needs Python code that comes with it, which is never run here",
     "take a checkpoint in an architecture of transformers (often a repository of the same name with -hf)"),
    (("valid model identifier", "repo id must", "repository not found", "404 client", "is not a local folder"),
     "neither a directory here nor a model of the hub", "check the spelling; for a private one set HF_TOKEN"),
    (("sentencepiece", "tiktoken", "protobuf"), "its tokenizer has to be converted",
     "`pip install sentencepiece tiktoken protobuf` wherever the run works, or save a tokenizer.json beside it"),
    (("does not recognize this architecture", "should have a `model_type`", "unrecognized model"),
     f"an architecture that transformers {version('transformers')} does not know",
     "check `model_type` in its config.json, or upgrade transformers"),
    (("unrecognized configuration class",), "no causal language model", "name one that predicts the next token of a text"),
    (("no file named", "does not appear to have"), "files are missing", "download the whole model again"),
)  # fmt: skip
"""What is found in a message (in lower case), what it means, and what helps."""


def unloadable(what: str, path: str, error: BaseException) -> CodeBlockError:
    """The error for the user. `what` is loaded from `path`; messages of other libraries are cut to their first line."""
    place = f"{what} {places.show(path)}"
    if isinstance(error, CodeBlockError):
        return error
    if _is_path(path) and not Path(path).exists():
        told = f"{place}: there is no such directory on {socket.gethostname()}"
        return CodeBlockError(f"{told}; check the path, which all nodes of a cluster have to see")
    if isinstance(error, PermissionError):
        return CodeBlockError(f"{place}: {error.filename or 'a file'} is not readable by this user; change its permissions")
    if isinstance(error, ImportError):
        return CodeBlockError(f"{place}: {_first_line(error)}; install that package wherever the run works")
    if type(error).__name__ in DAMAGED:
        return CodeBlockError(f"{place}: a file is damaged ({_first_line(error)}); download it again")
    said = str(error).lower()
    for words, meaning, remedy in REMEDIES:
        if any(word in said for word in words):
            return CodeBlockError(f"{place}: {meaning} ({_first_line(error)}); {remedy.format(path=path)}")
    return CodeBlockError(f"{place}: cannot be loaded ({_first_line(error)}); check its files, or name another one")


def _is_path(path: str) -> bool:
    """Rather than a hub name, which is `name` or `owner/name`."""
    return path.startswith((".", "~", os.sep)) or path.count(os.sep) > 1


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = " ".join(lines[0].split())[:CUT].rstrip(" .;:") if lines else ""
    return line or type(error).__name__
