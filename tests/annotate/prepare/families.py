"""Chat templates with the structure of the common families', and fast tokenizers of the kinds that they come with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from codeblock.core.models.load import DEFAULT_TEMPLATE

TURNS = "{% for m in messages %}{% if m['role'] == 'user' %}"
GENERATION = "{% if add_generation_prompt %}"


def per_role(system: str, user: str, assistant: str, generation: str, begin: str = "") -> str:
    """A template of one Jinja expression for each role."""
    return (
        f"{begin}{{% for m in messages %}}{{% if m['role'] == 'system' %}}{{{{ {system} }}}}"
        f"{{% elif m['role'] == 'user' %}}{{{{ {user} }}}}{{% else %}}{assistant}{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{{{{ {generation} }}}}{{% endif %}}"
    )


def says(expression: str) -> str:
    return f"{{{{ {expression} }}}}"


C = "m['content']"
SPLIT = (  # as Qwen3 tells a thought from an answer
    "{% set c = m['content'] %}{% set r = '' %}{% if '</think>' in c %}"
    "{% set r = c.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{% set c = c.split('</think>')[-1].lstrip('\n') %}{% endif %}"
)
CHATML_USER = f"'<|im_start|>' + m['role'] + '\n' + {C} + '<|im_end|>\n'"
QWEN3 = SPLIT + (
    "{% if loop.last %}{{ '<|im_start|>assistant\n<think>\n' + r.strip('\n') + '\n</think>\n\n' }}"
    "{{ c.lstrip('\n') + '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>assistant\n' + c + '<|im_end|>\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """A template, and what a model has to write for a response behind the generation prompt, the stop token last."""

    template: str
    writes: Callable[[str], str]


def empty_thought(response: str) -> str:
    return f"<think>\n\n</think>\n\n{response.lstrip(chr(10))}<|im_end|>"


def chatml(generation: str = "", assistant: str | None = None) -> str:
    return per_role(CHATML_USER, CHATML_USER, assistant or says(CHATML_USER), f"'<|im_start|>assistant\n{generation}'")


FAMILIES = {
    "chatml": Family(chatml(), lambda r: r + "<|im_end|>"),
    "qwen3": Family(chatml("", QWEN3), empty_thought),
    "qwen3 no thinking": Family(chatml("<think>\n\n</think>\n\n", QWEN3), lambda r: r.lstrip("\n") + "<|im_end|>"),
    "qwen3 thinking": Family(chatml("<think>\n", QWEN3), lambda r: empty_thought(r).removeprefix("<think>\n")),
    "r1": Family(
        per_role(
            C,
            f"'<|user|>' + {C}",
            SPLIT + says("'<|assistant|>' + c + '<|end|>'"),
            "'<|assistant|><think>\n'",
            says("bos_token"),
        ),
        lambda r: f"\n</think>\n\n{r}<|end|>",
    ),
    "llama 2": Family(
        per_role(
            f"'<<SYS>>\n' + {C} + '\n<</SYS>>\n\n'",
            f"bos_token + '[INST] ' + {C}.strip() + ' [/INST]'",
            says(f"' ' + {C}.strip() + ' ' + eos_token"),
            "''",
        ),
        lambda r: f" {r.strip()} </s>",
    ),
    "llama 3": Family(
        per_role(
            *2 * [f"'<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + {C} | trim + '<|eot_id|>'"],
            says(f"'<|start_header_id|>assistant<|end_header_id|>\n\n' + {C} | trim + '<|eot_id|>'"),
            "'<|start_header_id|>assistant<|end_header_id|>\n\n'",
            says("bos_token"),
        ),
        lambda r: r.strip() + "<|eot_id|>",
    ),
    "mistral": Family(
        per_role(C, f"'[INST] ' + {C} + ' [/INST]'", says(f"' ' + {C} + eos_token"), "''", says("bos_token")),
        lambda r: f" {r}</s>",
    ),
    "deepseek-coder": Family(
        per_role(
            C,
            f"'### Instruction:\n' + {C} + '\n'",
            says(f"'### Response:\n' + {C} + '\n<|EOT|>\n'"),
            "'### Response:'",
            says("bos_token"),
        ),
        lambda r: f"\n{r}\n<|EOT|>",
    ),
    "deepseek-v2": Family(
        per_role(C, f"'User: ' + {C} + '\n\n'", says(f"'Assistant: ' + {C} + eos_token"), "'Assistant:'", says("bos_token")),
        lambda r: f" {r}</s>",
    ),
    "gemma": Family(
        per_role(
            *2 * [f"'<start_of_turn>user\n' + {C} | trim + '<end_of_turn>\n'"],
            says(f"'<start_of_turn>model\n' + {C} | trim + '<end_of_turn>\n'"),
            "'<start_of_turn>model\n'",
            says("bos_token"),
        ),
        lambda r: r.strip() + "<end_of_turn>",
    ),
    "phi": Family(
        per_role(
            *2 * [f"'<|' + m['role'] + '|>\n' + {C} + '<|end|>\n'"],
            says(f"'<|assistant|>\n' + {C} + '<|end|>\n'"),
            "'<|assistant|>\n'",
        )
        + "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}",
        lambda r: r + "<|end|>",
    ),
    "granite": Family(
        per_role(
            *2 * [f"'<|start_of_role|>' + m['role'] + '<|end_of_role|>' + {C} + '<|end_of_text|>\n'"],
            says(f"'<|start_of_role|>assistant<|end_of_role|>' + {C} + '<|end_of_text|>\n'"),
            "'<|start_of_role|>assistant<|end_of_role|>'",
        ),
        lambda r: r + "<|end_of_text|>",
    ),
    "vicuna": Family(
        per_role(C, f"' USER: ' + {C}", says(f"' ASSISTANT: ' + {C} + eos_token"), "' ASSISTANT: '", says("bos_token")),
        lambda r: r + "</s>",
    ),
    "harmony": Family(
        per_role(
            *2 * [f"'<|start|>' + m['role'] + '<|message|>' + {C} + '<|end|>'"],
            says(f"'<|start|>assistant<|channel|>final<|message|>' + {C} + '<|return|>'"),
            "'<|start|>assistant'",
        ),
        lambda r: f"<|channel|>final<|message|>{r}<|return|>",
    ),
    "none": Family(DEFAULT_TEMPLATE, lambda r: r + "</s>"),
}

SPECIAL = [
    "<unk>",
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|EOT|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|end|>",
    "<|start_of_role|>",
    "<|end_of_role|>",
    "<|end_of_text|>",
    "<|start|>",
    "<|channel|>",
    "<|message|>",
    "<|return|>",
]
CORPUS = [
    "Here is the code:\n\n```python\ndef f(x):\n    return x + 1\n```\n",
    "USER: Add it. ASSISTANT: Here is the answer: User: Assistant: ### Instruction: ### Response: ",
    "```python [INST] q [/INST] ```python",
    "for item in items:\n        print(item)\n\n\n\nclass A:\n    pass\n",
] * 20


def byte_level(prefix: bool = False, trims: bool = False) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    made.decoder = decoders.ByteLevel()
    trained(made, pre_tokenizers.ByteLevel.alphabet())
    if trims:
        made.post_processor = processors.ByteLevel(trim_offsets=True)
    return made


def taking_blanks() -> Tokenizer:
    """The special tokens take the white space behind them, as Phi-3's do, and the end of a turn what is before it."""
    made = byte_level()
    made.add_special_tokens([AddedToken(each, rstrip="start" in each or each == "<|assistant|>") for each in SPECIAL])
    made.add_special_tokens([AddedToken(each, lstrip=True) for each in ("<|im_end|>", "<|end|>", "</s>")])
    return made


def by_lines() -> Tokenizer:
    """Byte-level with a pattern as Llama 3's: line breaks are tokens of their own, with the blanks before them."""
    pattern = r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    trained(made, pre_tokenizers.ByteLevel.alphabet())
    return made


def trained(made: Tokenizer, alphabet: list[str]) -> None:
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False)
    made.train_from_iterator(CORPUS, trainer)


def sentencepiece(kind: str, before: str) -> Tokenizer:
    """Blanks are a block; `before`: normalizer (as Llama 2's), first, always or never (as Gemma's): where one is put before."""
    made = Tokenizer(models.Unigram() if kind == "unigram" else models.BPE())
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always" if before in ("always", "first") else "never")
    if kind == "unigram":
        trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
        made.train_from_iterator(CORPUS, trainer)
    else:
        trained(made, [])
    made = with_bytes(made)
    blanks = [normalizers.Prepend("\u2581")] if before == "normalizer" else []
    made.normalizer = normalizers.Sequence([*blanks, normalizers.Replace(" ", "\u2581")])
    if before in ("first", "always"):
        made.normalizer = None
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=before, split=False)
    strip = [] if before == "never" else [decoders.Strip(" ", 1, 0)]
    made.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return made


def with_bytes(made: Tokenizer) -> Tokenizer:
    """The same pieces, and one for each byte where there is no piece."""
    model = json.loads(made.to_str())["model"]
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    if model["type"] == "Unigram":
        vocabulary = [(piece, score) for piece, score in model["vocab"]] + [(name, -20.0) for name in names]
        plain = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    else:
        vocabulary = {**model["vocab"]}
        vocabulary |= {name: len(model["vocab"]) + at for at, name in enumerate(names)}
        merges = [tuple(merge) for merge in model["merges"]]
        plain = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    plain.add_special_tokens(SPECIAL)
    return plain


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "byte-level": byte_level,
    "byte-level with a blank before": lambda: byte_level(prefix=True),
    "byte-level with trimmed offsets": lambda: byte_level(trims=True),
    "byte-level by lines": by_lines,
    "byte-level that takes blanks": taking_blanks,
    "llama 2's": lambda: sentencepiece("bpe", "normalizer"),
    "metaspace first": lambda: sentencepiece("bpe", "first"),
    "metaspace always": lambda: sentencepiece("bpe", "always"),
    "gemma's": lambda: sentencepiece("bpe", "never"),
    "unigram": lambda: sentencepiece("unigram", "first"),
}
SENTENCEPIECE = ("llama 2's", "metaspace first", "metaspace always", "gemma's", "unigram")


@cache
def tokenizer_of(family: str, kind: str) -> Any:
    """The tokenizer of a kind with the template of a family; blanks and thoughts are added tokens that are not special."""
    raw = Tokenizer.from_str(raw_of(kind))
    raw.add_tokens([AddedToken(each, normalized=False, special=False) for each in ("<think>", "</think>")])
    if kind == "byte-level":
        raw.add_tokens([AddedToken(each, normalized=True, special=False) for each in ("    ", "  ", "\t\t")])
    made = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="</s>", unk_token="<unk>")
    made.chat_template = FAMILIES[family].template
    return made


@cache
def raw_of(kind: str) -> str:
    """A trained tokenizer as its file would have it."""
    return TOKENIZERS[kind]().to_str()
