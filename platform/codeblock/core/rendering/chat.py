"""Rendering: what a model sees before an answer and what it has to write, through its own chat template.

The one place where conversations become text and tokens: preparation (training and scoring), the library and the prompts of
the evaluation use it. An answer stands behind the generation prompt, for that is where a model begins to write: all that the
template puts behind it (a blank, the end of a thought, a channel) is the model's to write, up to the stop token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from codeblock.core.errors import RowError
from codeblock.core.models.load import DEFAULT_TEMPLATE
from codeblock.core.rendering.tokens import MARK, ControlTokens, Encoder, Int32s, Tokens
from codeblock.core.rendering.turns import TAGS, Frame, Turn, exact, fitted, spared
from codeblock.core.schema import Reason

TemplateMessage = dict[str, Any]
"""`role` and `content`, and what else the template reads (`reasoning_content`, `tool_calls`, `name`)."""

_QUESTION: list[TemplateMessage] = [{"role": "user", "content": "question"}]
_ANSWER = "Answer1f9e07c2b4"
_MANY_FRAMES = 8


@dataclass(frozen=True)
class _Asked:
    """A conversation whose answer is to be rendered; special tokens that are quoted in it are marked (`tokens.Control`)."""

    chat: list[TemplateMessage]
    answer: str
    tools: Any
    marked: bool


@dataclass(frozen=True)
class Rendering:
    """A conversation and its answer as tokens."""

    prompt_ids: Int32s
    """int32[P] what the model sees, as generation gives it."""
    rest: Tokens
    """What it has to write before the stop token."""
    answer: str
    """The answer as the template writes it: some trim it, or space its thought in their own way."""
    answer_start: int
    """The character of what `rest` stands for at which the answer begins."""
    stop: int
    """The stop token."""


def chat_of(tokenizer: Any) -> Chat:
    """The chat of a tokenizer, made once for as long as it keeps its template."""
    return _chat_of(tokenizer, str(tokenizer.chat_template))


class Chat:
    """The chat template of one tokenizer (a fast one), with its tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._eos = int(tokenizer.eos_token_id)
        self._frames: list[Frame] = []
        self._endings: dict[str, tuple[str, int | None]] = {}
        self.encoder = Encoder(tokenizer)
        self.control = ControlTokens(self.encoder.special)
        self.control = ControlTokens({**self.encoder.special, **self._turn_marks()})
        self.opening = self.encoder.opening if tokenizer.chat_template == DEFAULT_TEMPLATE else []
        """Tokens before the template's text: our own template leaves the beginning-of-text token to the tokenizer."""

    @property
    def stop(self) -> int | None:
        """The token that the template puts behind an answer; None where that is plain text."""
        return None if self._usual is None else self._ending(self._usual.after)[1]

    def render(
        self, chats: Sequence[Sequence[TemplateMessage]], answers: Sequence[str], tools: Sequence[Any] | None = None
    ) -> list[Rendering | RowError]:
        """Each conversation with its answer; one that cannot be rendered is a RowError in its place.

        `tools`: for each conversation the functions that the model may call, as the template takes them, or None.
        """
        turns = self.turns(chats, answers, tools)
        plain = [turn for turn in turns if isinstance(turn, Turn) and not turn.marked]
        endings = [self._ending(turn.after) for turn in plain]
        prompts = self.encoder.begin([turn.prompt for turn in plain])
        texts = [turn.before + turn.answer + gap for turn, (gap, _) in zip(plain, endings, strict=True)]
        rests = self.encoder.go_on([turn.prompt for turn in plain], texts)
        made = iter([self._rendering(*each) for each in zip(plain, prompts, rests, strict=True)])
        return [turn if isinstance(turn, RowError) else self._quoting(turn) if turn.marked else next(made) for turn in turns]

    def turns(
        self, chats: Sequence[Sequence[TemplateMessage]], answers: Sequence[str], tools: Sequence[Any] | None = None
    ) -> list[Turn | RowError]:
        """Each conversation with its answer as text, in which special tokens that are quoted are marked."""
        given = tools if tools is not None and any(tools) else [None] * len(chats)
        asked = [self._asked(*each) for each in zip(chats, answers, given, strict=True)]
        good = [each for each in asked if isinstance(each, _Asked)]
        try:
            texts = self._texts(good)
        except Exception:  # templates raise whatever their author wrote; one by one shows which conversation it is
            return [self._turn_alone(each) if isinstance(each, _Asked) else each for each in asked]
        rendered = iter(zip(good, *texts, strict=True))
        return [self._turn(*next(rendered)) if isinstance(each, _Asked) else each for each in asked]

    def prompt(self, chat: Sequence[TemplateMessage], begun: str = "") -> tuple[str, list[int], str]:
        """What a model sees before its answer, or the rest of an answer that has `begun`: text, tokens, what has begun of it.

        The tokens are those of `render`. Some templates trim what has begun. Raises RowError where it cannot be rendered.
        """
        turn = self.turns([chat], [begun])[0] if begun else self._unanswered(chat)
        if isinstance(turn, RowError):
            raise turn
        rest = turn.before + turn.answer
        ids = [*self.opening, *self._ids("", turn.prompt, turn), *self._ids(turn.prompt, rest, turn)]
        return _unmarked(turn.prompt + rest, turn), ids, _unmarked(turn.answer, turn)

    def _unanswered(self, chat: Sequence[TemplateMessage]) -> Turn | RowError:
        asked = self._asked(chat, "", None)
        if isinstance(asked, RowError):
            return asked
        try:
            [prompt] = self._apply([asked.chat], [None], True)
        except Exception as error:  # templates raise whatever their author wrote
            return _refused(_line(error))
        return Turn(prompt, "", "", "", asked.marked)

    def _ids(self, head: str, text: str, turn: Turn) -> list[int]:
        if turn.marked:
            ids = self.encoder.go_on_quoting(head, text, self.control).ids
        else:
            ids = self.encoder.go_on([head], [text])[0].ids if head else self.encoder.begin([text])[0]
        return list(map(int, ids))

    def plain(self, text: str) -> list[int]:
        """The tokens of a text without a chat, which a base model goes on from: special tokens in it are quoted.

        Raises RowError where the tokenizer has no plain text for one of them.
        """
        marked = self.control.mark(text)
        ids = self.encoder.begin([text])[0] if marked == text else self.encoder.go_on_quoting("", marked, self.control).ids
        return [*self.encoder.opening, *ids.tolist()]

    def go_on(self, prompt: str, text: str) -> Tokens:
        """The tokens of a text as it goes on from a prompt; special tokens in it are quoted. Raises RowError as `plain`."""
        return self.encoder.go_on_quoting(prompt, self.control.mark(text), self.control)

    def _quoting(self, turn: Turn) -> Rendering | RowError:
        rest = turn.before + turn.answer + self._ending(turn.after)[0]
        try:
            prompt = self.encoder.go_on_quoting("", turn.prompt, self.control).ids
            found = self.encoder.go_on_quoting(turn.prompt, rest, self.control)
        except RowError as error:
            return error
        return self._rendering(turn, prompt, found)

    def _rendering(self, turn: Turn, prompt: Int32s, rest: Tokens) -> Rendering:
        stop = self._ending(turn.after)[1]
        # A template without a stop token would train a model that never ends its answer.
        stop = self._eos if stop is None else stop
        prompt = np.concatenate([np.array(self.opening, dtype=np.int32), prompt]) if self.opening else prompt
        return Rendering(prompt, rest, _unmarked(turn.answer, turn), len(_unmarked(turn.before, turn)), stop)

    def _asked(self, chat: Sequence[TemplateMessage], answer: str, tools: Any) -> _Asked | RowError:
        messages = [self._marked_message(message) for message in chat]
        marked = self._mark_answer(answer)
        quoting = marked != answer or messages != list(chat)
        if tools is not None:
            known = _each_text(tools, self.control.mark)
            quoting, tools = quoting or known != tools, known
        if quoting and any(MARK in text for text in _texts_of([*chat, answer])):
            return RowError(Reason.SPECIAL_TOKEN, f"the text quotes a special token and holds {MARK!a}, which marks such")
        return _Asked(messages, marked, tools, quoting)

    def _turn_alone(self, asked: _Asked) -> Turn | RowError:
        try:
            [prompt], [full] = self._texts([asked])
        except Exception as error:
            return _refused(_line(error))
        return self._turn(asked, prompt, full)

    def _turn(self, asked: _Asked, prompt: str, full: str) -> Turn | RowError:
        known = self._exact(self._frames, asked, prompt, full) or self._fitted(self._frames, asked, prompt, full)
        if known is not None:
            return known
        try:
            frame = self._frame(asked)
        except Exception as error:
            return _refused(_line(error))
        if frame is None:
            return _refused("it does not write the last answer as it is")
        self._frames = [frame, *(each for each in self._frames if each != frame)][:_MANY_FRAMES]
        found = self._exact([frame], asked, prompt, full) or self._fitted([frame], asked, prompt, full)
        return found or _refused("it changes the response in more than white space, or puts another prompt before it")

    def _exact(self, frames: Sequence[Frame], asked: _Asked, prompt: str, full: str) -> Turn | None:
        found = (exact(prompt, full, asked.answer, frame) for frame in frames)
        return _with_mark(next(filter(None, found), None), asked)

    def _fitted(self, frames: Sequence[Frame], asked: _Asked, prompt: str, full: str) -> Turn | None:
        found = (fitted(prompt, full, asked.answer, frame, self._before(frame)) for frame in frames)
        return _with_mark(next(filter(None, found), None), asked)

    def _before(self, frame: Frame) -> str | None:
        return frame.before if frame.before is not None or self._usual is None else self._usual.before

    @cached_property
    def _usual(self) -> Frame | None:
        """What stands around the answer to a mere question."""
        try:
            return self._frame(_Asked(_QUESTION, _ANSWER, None, False))
        except Exception:  # the template asks for more than a question
            return None

    def _frame(self, asked: _Asked) -> Frame | None:
        """What stands around an answer without a thought; None where the template does not write it."""
        [prompt], [full] = self._texts([replace(asked, answer=_ANSWER)])
        before, found, after = full.rpartition(_ANSWER)
        return Frame(before.removeprefix(prompt) if before.startswith(prompt) else None, after) if found else None

    def _ending(self, after: str) -> tuple[str, int | None]:
        """The text before the stop token in what stands behind an answer, and the stop token; None where there is none."""
        if after not in self._endings:
            stops = (match for match in self.control.written.finditer(after) if match[0] not in TAGS)
            stop = next(stops, None)
            self._endings[after] = ("", None) if stop is None else (after[: stop.start()], self.control.ids[stop[0]])
        return self._endings[after]

    def _turn_marks(self) -> dict[str, int]:
        """Added tokens that are not called special but make the template's turns, by their text."""
        added = {str(token): int(id_) for id_, token in self._tokenizer.added_tokens_decoder.items() if not token.special}
        try:
            [prompt], [full] = self._texts([_Asked(_QUESTION, _ANSWER, None, False)])
        except Exception:  # the template asks for more than a question
            return {}
        named = (each for each in added if each not in TAGS and not all(c.isalnum() or c.isspace() for c in each))
        return {each: added[each] for each in named if each in prompt or each in full}

    def _marked_message(self, message: TemplateMessage) -> TemplateMessage:
        mark = self._mark_answer if message["role"] == "assistant" else self.control.mark
        return {key: value if key == "role" else _each_text(value, mark) for key, value in message.items()}

    def _mark_answer(self, text: str) -> str:
        marked = self.control.mark(text)
        return text if marked == text else self.control.mark(text, spared(text))

    def _texts(self, asked: Sequence[_Asked]) -> tuple[list[str], list[str]]:
        """Prompts and whole conversations."""
        chats = [[*each.chat, {"role": "assistant", "content": each.answer}] for each in asked]
        tools = [each.tools for each in asked]
        return self._apply([each.chat for each in asked], tools, True), self._apply(chats, tools, False)

    def _apply(self, chats: list[list[TemplateMessage]], tools: list[Any], generation: bool) -> list[str]:
        template = self._tokenizer.apply_chat_template
        options = {"tokenize": False, "add_generation_prompt": generation}
        if not any(tools):
            return list(template(chats, **options)) if chats else []
        return [template(chat, tools=known, **options) for chat, known in zip(chats, tools, strict=True)]


@lru_cache(maxsize=4)
def _chat_of(tokenizer: Any, template: str) -> Chat:  # noqa: ARG001
    return Chat(tokenizer)


def _refused(why: str) -> RowError:
    return RowError(Reason.TEMPLATE_ERROR, f"chat template: {why}")


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _with_mark(turn: Turn | None, asked: _Asked) -> Turn | None:
    return turn if turn is None or not asked.marked else replace(turn, marked=True)


def _unmarked(text: str, turn: Turn) -> str:
    return text.replace(MARK, "") if turn.marked else text


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """The same value with every text in it changed, but the keys of objects."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _each_text(each, change) for key, each in value.items()}
    return [_each_text(each, change) for each in value] if isinstance(value, list | tuple) else value


def _texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts_of(each)
