"""One rendering for training, scoring and evaluation: first what generation sees, then what a model has to write.

Every family of templates is held with every kind of tokenizer, for random conversations and responses.
"""

from __future__ import annotations

import copy
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.annotate.prepare.families import FAMILIES, SENTENCEPIECE, SPECIAL, TOKENIZERS, byte_level, tokenizer_of
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from codeblock.annotate.prepare.render import Renderer
from codeblock.core.errors import RowError
from codeblock.core.models.load import DEFAULT_TEMPLATE, load_tokenizer
from codeblock.core.rendering.chat import Chat
from codeblock.core.schema import Reason

USER = [{"role": "user", "content": "Add it."}]
PIECES = [
    "def f(x):",
    "\n",
    "    ",
    "return x",
    " ",
    "\t\t",
    "```python\n",
    "```",
    "Here is",
    "the code",
    "é",
    "🎉",
    "\r\n",
    "'s",
    "##",
]
QUOTED = [*SPECIAL, "<|im_", "[INST]", "<"]
TEXTS = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(codec="utf-8", exclude_characters="\u2581"), max_size=5), min_size=1
)
PLAIN = TEXTS.map("".join).filter(lambda text: text.strip() and not any(each in text for each in SPECIAL))
QUOTING = st.lists(st.sampled_from(PIECES + QUOTED), min_size=1).map("".join).filter(str.strip)
CONVERSATIONS = st.lists(PLAIN, min_size=1, max_size=3)
ALL = list(product(FAMILIES, TOKENIZERS))


def chat_of(texts: list[str]) -> list[dict[str, str]]:
    """User and assistant in turn, the user last."""
    texts = texts if len(texts) % 2 else texts[:-1]
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]


def decoded(tokenizer: Any, ids: Any) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


def same(kind: str, text: str, expected: str) -> bool:
    """Decoders of the SentencePiece kind lose the first blank, and such tokenizers put one behind special tokens."""
    if kind in SENTENCEPIECE or "blank before" in kind:
        return text.replace(" ", "") == expected.replace(" ", "")
    return text == expected


@pytest.mark.parametrize(("family", "kind"), ALL)
def test_the_prompt_is_what_generation_sees_and_the_rest_is_the_response_and_the_stop(family: str, kind: str) -> None:
    tokenizer, writes = tokenizer_of(family, kind), FAMILIES[family].writes
    render = Renderer(tokenizer)

    @given(CONVERSATIONS, PLAIN)
    @settings(max_examples=15, database=None)
    def holds(texts: list[str], response: str) -> None:
        chat = chat_of(texts)
        [made] = render([chat], [response])
        assert not isinstance(made, RowError), made.detail
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        assert made.input_ids[: made.response_start].tolist() == prompt
        text = decoded(tokenizer, made.input_ids[made.response_start :])
        assert same(kind, text, writes(response)), (text, writes(response))
        conversation = [*chat, {"role": "assistant", "content": response}]
        whole = tokenizer.apply_chat_template(conversation, return_dict=False)
        if whole[: len(prompt)] == prompt and "takes blanks" not in kind:
            assert made.input_ids.tolist() == whole[: made.input_ids.size]

    holds()


@pytest.mark.parametrize(("family", "kind"), ALL)
def test_special_tokens_that_a_text_quotes_stay_text(family: str, kind: str) -> None:
    tokenizer, writes = tokenizer_of(family, kind), FAMILIES[family].writes
    render = Renderer(tokenizer)
    special = [tokenizer.convert_tokens_to_ids(each) for each in SPECIAL]

    def controls(asked: str, response: str) -> tuple[list[int], Any]:
        [made] = render([chat_of([asked])], [response])
        assert not isinstance(made, RowError), made.detail
        return [token for token in made.input_ids.tolist() if token in special], made

    @given(QUOTING, QUOTING)
    @settings(max_examples=10, database=None)
    def holds(asked: str, response: str) -> None:
        found, made = controls(asked, response)
        assert found == controls("a", "b")[0]
        text = decoded(tokenizer, made.input_ids[made.response_start :])
        assert same(kind, text, writes(response)), (text, writes(response))
        [(_, ids, _)] = [Chat(tokenizer).prompt(chat_of([asked]))]
        assert made.input_ids[: made.response_start].tolist() == ids

    holds()


def rendered(family: str, kind: str, response: str, chat: Any = USER, tools: Any = None) -> tuple[str, str, Any]:
    """Prompt, the rest, and the whole."""
    tokenizer = tokenizer_of(family, kind)
    [made] = Renderer(tokenizer)([chat], [response], [tools])
    assert not isinstance(made, RowError), made.detail
    start = made.response_start
    return decoded(tokenizer, made.input_ids[:start]), decoded(tokenizer, made.input_ids[start:]), made


@pytest.mark.parametrize(
    ("family", "response", "rest"),
    [
        ("chatml", "<think>\nOne.\n</think>\n\nx", "<think>\nOne.\n</think>\n\nx<|im_end|>"),
        ("qwen3", "<think>\nOne.\n</think>\n\nx", "<think>\nOne.\n</think>\n\nx<|im_end|>"),
        ("qwen3", "<think>One.</think>x", "<think>\nOne.\n</think>\n\nx<|im_end|>"),
        ("qwen3 thinking", "<think>\nOne.\n</think>\n\nx", "One.\n</think>\n\nx<|im_end|>"),
        ("qwen3 thinking", "<think>One.</think>x", "One.\n</think>\n\nx<|im_end|>"),
        ("qwen3 thinking", "One.\n</think>\n\nx", "One.\n</think>\n\nx<|im_end|>"),
        ("r1", "<think>\nOne.\n</think>\n\nx", "One.\n</think>\n\nx<|end|>"),
        ("r1", "<think>One.</think>x", "One.</think>x<|end|>"),
        ("r1", "One.\n</think>\n\nx", "One.\n</think>\n\nx<|end|>"),
    ],
)
def test_a_thought_is_kept_whatever_the_template_does_with_it(family: str, response: str, rest: str) -> None:
    prompt, found, made = rendered(family, "byte-level", response)
    assert found == rest
    assert prompt.endswith("<think>\n") is (family in ("qwen3 thinking", "r1"))
    for start, end, token in list(zip(made.starts, made.ends, made.input_ids, strict=True))[made.response_start : -1]:
        piece = decoded(tokenizer_of(family, "byte-level"), [token])
        assert response[start:end].split() == piece.split(), "each token stands for what it says, but for white space"


def test_the_tags_of_a_thought_are_real_tokens_even_where_they_are_special_but_not_where_they_are_quoted() -> None:
    raw = byte_level()
    raw.add_special_tokens(["<think>", "</think>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = FAMILIES["chatml"].template
    opens, closes = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    [made] = Renderer(tokenizer)([[{"role": "user", "content": "<think> of it"}]], ["<think>\nA\n</think>\n\n`</think>`"])
    assert [made.input_ids.tolist().count(each) for each in (opens, closes)] == [1, 1]
    assert decoded(tokenizer, made.input_ids[made.response_start :]) == "<think>\nA\n</think>\n\n`</think>`<|im_end|>"


def test_the_token_that_holds_a_blank_of_the_template_and_the_first_word_stands_for_the_word() -> None:
    _, _, made = rendered("mistral", "byte-level", "```python\nx\n```")
    first = made.response_start
    assert decoded(tokenizer_of("mistral", "byte-level"), [made.input_ids[first]]) == " ```"
    assert (made.starts[first], made.ends[first]) == (0, 3)


@pytest.mark.parametrize("family", ["llama 3", "gemma", "llama 2"])
def test_a_template_that_trims_leaves_the_prompt_alone(family: str) -> None:
    plain, _, _ = rendered(family, "byte-level by lines", "return x")
    response = "\n" + " " * 40 + "return x\n"
    prompt, _, made = rendered(family, "byte-level by lines", response)
    assert prompt == plain
    first = next(at for at in range(made.response_start, made.input_ids.size) if made.ends[at] > made.starts[at])
    assert response[made.starts[first] :].lstrip(" ").startswith("return")
    assert made.starts[made.response_start :].min() >= 40


def test_trimmed_offsets_leave_no_character_of_the_response_without_a_token() -> None:
    response = "def f(x):\n        return x  +  1\n"
    _, _, made = rendered("chatml", "byte-level with trimmed offsets", response)
    body = slice(made.response_start, None)
    covered = {at for start, end in zip(made.starts[body], made.ends[body], strict=True) for at in range(start, end)}
    assert covered == set(range(len(response)))


NEMO = (  # writes the system prompt into the last user turn, if that is the last turn of all
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' }}{% if loop.last and messages[0]['role'] == 'system' %}{{ messages[0]['content'] + '\n\n' }}{% endif %}"
    "{{ m['content'] + ' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)


def with_template(template: str, kind: str = "byte-level") -> Any:
    tokenizer = copy.deepcopy(tokenizer_of("chatml", kind))
    tokenizer.chat_template = template
    return tokenizer


def test_the_prompt_is_generation_s_even_where_the_template_writes_another_before_an_answer() -> None:
    tokenizer = with_template(NEMO)
    chat = [{"role": "system", "content": "Be brief."}, *USER]
    [made] = Renderer(tokenizer)([chat], ["x"])
    assert decoded(tokenizer, made.input_ids) == "<s>[INST] Be brief.\n\nAdd it. [/INST] x</s>"
    assert decoded(tokenizer, made.input_ids[made.response_start :]) == " x</s>"


def test_what_messages_have_besides_their_content_and_the_tools_reach_the_template() -> None:
    template = (
        "{% for t in tools or [] %}{{ '<tool>' + t['function']['name'] }}{% endfor %}{% for m in messages %}"
        "{{ '<|im_start|>' + (m['name'] or m['role']) + ':' + (m['reasoning_content'] or '') }}"
        "{% for c in m['tool_calls'] or [] %}{{ c['function']['arguments'] | tojson }}{% endfor %}"
        "{{ m['content'] + '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant:' }}{% endif %}"
    )
    tokenizer = with_template(template)
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": "</s>"}}}
    chat = [
        {"role": "user", "content": "q", "name": "Ann", "tool_calls": None},
        {"role": "assistant", "content": "", "tool_calls": [call], "reasoning_content": "hm"},
    ]
    tool = {"type": "function", "function": {"name": "add", "description": "", "parameters": {}}}
    both = Renderer(tokenizer)([chat, USER], ["r", "s"], [[tool], None])
    start = "<tool>add<|im_start|>Ann:q<|im_end|><|im_start|>assistant:hm"
    assert decoded(tokenizer, both[0].input_ids) == start + '{"a": "</s>"}<|im_end|><|im_start|>assistant:r<|im_end|>'
    assert decoded(tokenizer, both[1].input_ids) == "<|im_start|>user:Add it.<|im_end|><|im_start|>assistant:s<|im_end|>"
    assert tokenizer.eos_token_id not in both[0].input_ids


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_model_without_a_template_begins_with_one_beginning_of_text_everywhere(kind: str, tmp_path: Path) -> None:
    saved = with_template(DEFAULT_TEMPLATE, kind)
    saved.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    saved.chat_template = None
    saved.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    bare = copy.copy(loaded)
    bare.chat_template = DEFAULT_TEMPLATE  # as a model that was trained before the token was in the template
    quoting = [{"role": "user", "content": "<s> and </s>"}]
    for tokenizer in (loaded, bare):
        [made] = Renderer(tokenizer)([quoting], ["x"])
        assert (made.input_ids.tolist().count(1), made.input_ids[0]) == (1, 1)
        assert made.input_ids.tolist().count(2) == 1
        chat = Chat(tokenizer)
        assert made.input_ids[: made.response_start].tolist() == chat.prompt(quoting)[1]
        text = chat.plain("def f(x):\n    return")
        assert (text[0], text.count(1), text.count(2)) == (1, 1, 0)
    assert loaded.apply_chat_template(quoting, return_dict=False)[0] == 1, "others who use the trained model begin alike"


def test_a_tokenizer_that_puts_nothing_before_a_text_gets_no_beginning_of_text() -> None:
    tokenizer = with_template(DEFAULT_TEMPLATE)
    [made] = Renderer(tokenizer)([USER], ["x"])
    assert 1 not in made.input_ids
    assert 1 not in Chat(tokenizer).plain("x")


@pytest.mark.parametrize("response", ["return x\n    ", "return x\t\t", "return x  ", "return x"])
def test_the_stop_is_the_stop_token_and_never_a_run_of_blanks_that_is_an_added_token(response: str) -> None:
    _, rest, made = rendered("none", "byte-level", response)
    assert rest == response + "</s>"
    assert made.input_ids[-1] == 2
    assert Chat(tokenizer_of("none", "byte-level")).stop == 2
    spaced = with_template("{% for m in messages %}{{ m['content'] + '    ' + eos_token }}{% endfor %}")
    assert Chat(spaced).stop == 2


def test_a_turn_mark_that_is_not_called_special_is_the_stop_and_is_quoted_too() -> None:
    """As where a fine-tune added ChatML's tokens as ordinary ones."""
    raw = byte_level()
    raw.add_tokens([AddedToken(each, special=False, normalized=False) for each in ("<|turn|>", "<|done|>")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = FAMILIES["chatml"].template.replace("<|im_start|>", "<|turn|>").replace("<|im_end|>", "<|done|>")
    done = tokenizer.convert_tokens_to_ids("<|done|>")
    [made] = Renderer(tokenizer)([USER], ["print('<|done|>')"])
    assert made.input_ids[made.response_start :].tolist().index(done) == made.input_ids.size - made.response_start - 1
    assert decoded(tokenizer, made.input_ids[made.response_start :]) == "print('<|done|>')<|done|>"


@pytest.mark.parametrize(
    ("family", "kind"), product(["chatml", "mistral", "vicuna", "llama 3", "qwen3", "r1", "none"], TOKENIZERS)
)
def test_an_answer_that_has_begun_has_the_tokens_of_training(family: str, kind: str) -> None:
    tokenizer = tokenizer_of(family, kind)
    begun = "Here is the code:\n```python"
    [made] = Renderer(tokenizer)([USER], [begun + "\nx = 1\n```"])
    text, ids, said = Chat(tokenizer).prompt(USER, begun)
    assert said == begun
    assert text.endswith(begun)
    assert made.input_ids[: len(ids)].tolist() == ids


def test_a_pair_that_cannot_be_rendered_says_truly_why() -> None:
    censors = with_template("{% for m in messages %}{{ m['content'] | replace('abc', '***') + eos_token }}{% endfor %}")
    lost, good = Renderer(censors)([USER, USER], ["an abc", "x"])
    assert (lost.reason, "changes the response" in lost.detail) == (Reason.TEMPLATE_ERROR, True)
    assert not isinstance(good, RowError)
    deaf = with_template("{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}")
    [lost] = Renderer(deaf)([USER], ["abc"])
    assert "does not write the last answer as it is" in lost.detail
    strict = with_template("{{ raise_exception('no\nsystem') }}")
    assert Renderer(strict)([USER], ["abc"])[0].detail == "chat template: no"
    with pytest.raises(RowError, match="no"):
        Chat(strict).prompt(USER)
    assert Chat(strict).stop is None


def test_a_special_token_without_plain_text_costs_its_pair_alone() -> None:
    raw = Tokenizer(models.WordLevel({"<unk>": 0, "Add": 1, "x": 2, "</s>": 3}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.add_special_tokens(["</s>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}</s>{% endif %}{% endfor %}"
    )
    good, lost = Renderer(tokenizer)([USER, USER], ["x", "x </s>"])
    assert good.input_ids.tolist()[-2:] == [2, 3]
    assert (lost.reason, lost.detail.startswith("the text holds '</s>'")) == (Reason.SPECIAL_TOKEN, True)


def test_a_text_that_holds_the_mark_of_quoted_tokens_is_an_ordinary_one() -> None:
    _, rest, made = rendered("chatml", "byte-level", "a\ufdd0b")
    assert rest == "a\ufdd0b<|im_end|>"
    assert made.ends[-1] == 3
    [lost] = Renderer(tokenizer_of("chatml", "byte-level"))([USER], ["a\ufdd0b</s>"])
    assert lost.reason == Reason.SPECIAL_TOKEN
