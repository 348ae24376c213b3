"""The base model: a byte-level BPE tokenizer with a chat template, and a small Llama trained from scratch.

Shapes: B documents of a batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from codeblock.tiny.corpus import Document
from codeblock.tiny.recipe import Recipe

END_OF_TEXT, START, STOP, PAD = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML."""

_IGNORE = -100


def train_tokenizer(texts: list[str], vocabulary: int) -> Any:
    """A fast tokenizer with `vocabulary` tokens; digits are tokens of their own."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT, START, STOP, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=STOP, pad_token=PAD, model_max_length=1024)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def text_of(document: Document) -> str:
    """The words of a document, without the template's marks."""
    return document if isinstance(document, str) else "\n".join(message["content"] for message in document)


def train_base(
    tokenizer: Any, documents: list[Document], recipe: Recipe, seed: int, progress: Callable[[str], None]
) -> LlamaForCausalLM:
    """A new model, trained for `recipe.base_steps` steps; each document is seen at most once."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(_config(tokenizer, recipe))
    batches = _batches(_encode(tokenizer, documents), recipe, seed)
    optimizers = _optimizers(model, recipe)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share_of_rate(step, recipe.base_steps))
        for optimizer in optimizers
    ]
    model.train()
    for step, ids in enumerate(batches, 1):
        loss = _loss(model, ids)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        if step % 25 == 0 or step == recipe.base_steps:
            progress(f"base model: step {step} of {recipe.base_steps}, loss {loss.item():.3f}")
    return model.eval()


def save(model: LlamaForCausalLM, tokenizer: Any, directory: Path) -> None:
    """Write an ordinary Hugging Face directory."""
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory, save_jinja_files=False)


def _config(tokenizer: Any, recipe: Recipe) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=3 * recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.08,  # about 1 / sqrt(hidden); the usual 0.02 is for models of many times this width
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(STOP),
        pad_token_id=tokenizer.pad_token_id,
    )


def _encode(tokenizer: Any, documents: list[Document]) -> list[list[int]]:
    texts = [
        document + END_OF_TEXT if isinstance(document, str) else tokenizer.apply_chat_template(document, tokenize=False)
        for document in documents
    ]
    return [list(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def _batches(documents: list[list[int]], recipe: Recipe, seed: int) -> Iterator[torch.Tensor]:
    """Batches of documents of like length [B, T], right-padded with `_IGNORE`, in random order."""
    ordered = sorted(documents, key=len)
    batches: list[list[list[int]]] = [[]]
    for ids in ordered:
        if len(batches[-1]) * len(ids) >= recipe.base_batch_tokens:
            batches.append([])
        batches[-1].append(ids)
    random.Random(seed).shuffle(batches)
    for batch in batches[: recipe.base_steps]:
        width = max(map(len, batch))
        yield torch.tensor([ids + [_IGNORE] * (width - len(ids)) for ids in batch])


def _loss(model: LlamaForCausalLM, ids_BT: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=_fast_bfloat16()):
        logits_BTV = model(input_ids=ids_BT.clamp(min=0)).logits
    return torch.nn.functional.cross_entropy(logits_BTV[:, :-1].float().flatten(0, 1), ids_BT[:, 1:].flatten())


def _fast_bfloat16() -> bool:
    # Without the instructions bfloat16 is emulated, at a third of float32's speed.
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    # Muon needs about half of AdamW's tokens here; it is meant for the matrices inside the layers only.
    inner = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    outer = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(inner, lr=recipe.base_learning_rate, weight_decay=0.01, ns_steps=3),
        torch.optim.AdamW(outer, lr=0.3 * recipe.base_learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _share_of_rate(step: int, steps: int) -> float:
    """Warm-up over the first twentieth, constant, then down to almost nothing over the second half."""
    return min((step + 1) / max(1, steps // 20), 1.0, 2 * (1 - step / steps) + 0.02)
