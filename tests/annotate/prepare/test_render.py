"""One function makes tokens, offsets and the response mask; decoding the response tokens gives the response back."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeblock.annotate.prepare.render import Renderer
from codeblock.core.errors import RowError
from codeblock.core.models.load import DEFAULT_TEMPLATE, load_tokenizer
from codeblock.core.schema import Reason

USER = [{"role": "user", "content": "Add two numbers."}]
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1).filter(lambda text: text.strip())


@pytest.fixture(scope="module")
def renderer(tokenizer):
    return Renderer(tokenizer)


def decoded_response(tokenizer, rendered):
    return tokenizer.decode(rendered.input_ids[rendered.response_start : -1])


@pytest.mark.parametrize(
    "response",
    ["a + b", "Sure:\n```python\nprint(1)\n```\n", "  x = 1", "naïve café 🎉 e\u0301", "a\r\n\tb", "user", "<|im_start|>x"],
)
def test_the_response_tokens_decode_to_the_response(tokenizer, renderer, response):
    rendered = renderer([USER], [response])[0]
    assert decoded_response(tokenizer, rendered) == response


@given(TEXT)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_response_is_found_and_every_offset_is_right(tokenizer, renderer, response):
    rendered = renderer([USER], [response])[0]
    for start, end, token in zip(rendered.starts, rendered.ends, rendered.input_ids, strict=True):
        if 0 <= start < end <= len(response) and "\ufffd" not in (piece := tokenizer.decode([token])):
            assert response[start:end] == piece
    covered = {i for s, e in zip(rendered.starts, rendered.ends, strict=True) for i in range(max(s, 0), e)}
    assert covered >= set(range(len(response)))


def test_the_last_token_is_the_stop_token_and_nothing_follows_it(tokenizer, renderer):
    rendered = renderer([USER], ["a + b"])[0]
    assert rendered.input_ids[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert (rendered.starts[-1], rendered.ends[-1]) == (5, 5)


def test_prompt_tokens_are_those_of_generation(tokenizer, renderer):
    rendered = renderer([USER], ["a + b"])[0]
    prompt = tokenizer.apply_chat_template(USER, add_generation_prompt=True)["input_ids"]
    assert rendered.input_ids[: rendered.response_start].tolist() == prompt


def test_a_response_that_repeats_the_prompt_is_found_behind_it(tokenizer, renderer):
    rendered = renderer([USER], ["Add two numbers."])[0]
    assert decoded_response(tokenizer, rendered) == "Add two numbers."
    assert rendered.response_start > len(rendered.input_ids) / 3


def test_a_model_without_a_template_gets_the_documented_one_and_a_stop_token(tmp_path, make_tokenizer_dir):
    tokenizer = load_tokenizer(make_tokenizer_dir(tmp_path, template=None))
    assert tokenizer.chat_template == DEFAULT_TEMPLATE
    rendered = Renderer(tokenizer)([USER], ["a + b"])[0]
    assert decoded_response(tokenizer, rendered) == "a + b"
    assert rendered.input_ids[-1] == tokenizer.eos_token_id


def test_a_template_without_a_stop_token_gets_the_end_of_text(tmp_path, make_tokenizer_dir):
    bare = "{% for message in messages %}{{ message['content'] + '\n' }}{% endfor %}"
    tokenizer = load_tokenizer(make_tokenizer_dir(tmp_path, template=bare))
    rendered = Renderer(tokenizer)([USER], ["a + b"])[0]
    assert rendered.input_ids[-1] == tokenizer.eos_token_id
    assert decoded_response(tokenizer, rendered) == "a + b"


def test_a_template_that_strips_keeps_the_offsets_of_the_response(tmp_path, make_tokenizer_dir):
    trims = "{% for message in messages %}{{ '<|im_start|>' + message['content'].strip() + '<|im_end|>' }}{% endfor %}"
    tokenizer = load_tokenizer(make_tokenizer_dir(tmp_path, template=trims))
    response = "\n\n  print(1)  \n"
    rendered = Renderer(tokenizer)([USER], [response])[0]
    first = rendered.response_start
    assert response[rendered.starts[first] :].startswith("print")


def test_a_template_that_fails_costs_that_pair_alone(tmp_path, make_tokenizer_dir):
    picky = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ m['content'] }}{% endfor %}"
    )
    renderer = Renderer(load_tokenizer(make_tokenizer_dir(tmp_path, template=picky)))
    bad, good = renderer([[{"role": "system", "content": "x"}, *USER], USER], ["a", "b"])
    assert isinstance(bad, RowError)
    assert bad.reason == Reason.TEMPLATE_ERROR
    assert not isinstance(good, RowError)


def test_a_tokenizer_without_a_pad_token_is_given_one(tmp_path, make_tokenizer_dir):
    tokenizer = load_tokenizer(make_tokenizer_dir(tmp_path))
    assert tokenizer.pad_token is not None
