"""Write a randomly initialised Qwen2 model with a large vocabulary, to show that nothing is shaped for the tiny model.

    python tests/bench/make_qwen2.py OUTPUT --pairs PATH [PATH ...] [--vocabulary 120000] [--hidden 640] [--layers 12]

The tokenizer is a byte-level BPE trained on the pairs, with Qwen's chat format. The embedding is padded to the asked
vocabulary, as Qwen's own is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from codeblock.pairs.files import find_files
from codeblock.pairs.read import Row, read_rows

TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def main() -> None:
    """Train the tokenizer, draw the weights, save both, print the sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output")
    parser.add_argument("--pairs", nargs="+", required=True)
    parser.add_argument("--vocabulary", type=int, default=120_000)
    parser.add_argument("--hidden", type=int, default=640)
    parser.add_argument("--layers", type=int, default=12)
    arguments = parser.parse_args()
    tokenizer = train_tokenizer(arguments.pairs, arguments.vocabulary)
    tokenizer.save_pretrained(arguments.output)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=arguments.vocabulary,
        hidden_size=arguments.hidden,
        intermediate_size=4 * arguments.hidden,
        num_hidden_layers=arguments.layers,
        num_attention_heads=arguments.hidden // 64,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
    )
    model = Qwen2ForCausalLM(config)
    model.save_pretrained(arguments.output)
    print(
        f"{arguments.output}: {model.num_parameters():,} parameters, vocabulary {arguments.vocabulary:,} "
        f"({len(tokenizer):,} of them tokens of the tokenizer)"
    )


def train_tokenizer(paths: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most `vocabulary` tokens over all text of the pairs."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=1,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bpe.train_from_iterator(texts(paths), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", chat_template=TEMPLATE)


def texts(paths: list[str]) -> Iterator[str]:
    """Every text value of every row."""
    for path in paths:
        for file in find_files(path):
            for row in read_rows(file):
                if isinstance(row, Row):
                    yield from (value for value in row.value.values() if isinstance(value, str))


if __name__ == "__main__":
    main()
