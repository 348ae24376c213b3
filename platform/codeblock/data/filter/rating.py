"""Ratings from an OpenAI-compatible endpoint. The official client does the requests, the time-outs and the retries."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from codeblock.core.config import RatingConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.quality import SCALE
from codeblock.data.filter.words import Messages, last_request

_PLACE = re.compile(r"\{(instruction|response)\}")
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Rating:
    """A quality of 0..5, or why there is none. `unreachable`: no reply came, so the fault may be the endpoint's."""

    quality: float | None
    failure: str | None = None
    unreachable: bool = False


def read_key(config: RatingConfig) -> str:
    """The key from the environment. Raises CodeBlockError where the variable is not set."""
    if config.key_env is None:
        return "none"
    key = os.environ.get(config.key_env)
    if not key:
        raise CodeBlockError(
            f"filter.rating.key_env={config.key_env}: not set in the environment; export it, or "
            "set key_env to null where the endpoint asks for no key"
        )
    return key


def check_endpoint(config: RatingConfig) -> None:
    """Ask the endpoint for its models. Raises CodeBlockError where no answer comes, or where the key is refused."""
    openai = _openai()
    client = openai.OpenAI(base_url=config.url, api_key=read_key(config), timeout=config.timeout_seconds, max_retries=0)
    try:
        client.models.list()
    except openai.APIConnectionError as error:
        raise CodeBlockError(
            f"filter.rating.url={config.url}: no answer ({error.__cause__ or error}); start the server or mend the address"
        ) from error
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        raise CodeBlockError(_refused(config, error)) from error
    except openai.APIError:
        pass  # It answers; not every server lists its models.


class Rater:
    """Rates pairs, `config.concurrency` at the same time."""

    def __init__(self, config: RatingConfig, key: str) -> None:
        self._openai, self._config = _openai(), config
        self._client = self._openai.OpenAI(
            base_url=config.url, api_key=key, timeout=config.timeout_seconds, max_retries=config.retries
        )

    def __call__(self, messages: Sequence[Messages], responses: Sequence[str]) -> list[Rating]:
        """A rating for each pair, in order. Raises CodeBlockError where the key or the model is refused."""
        with ThreadPoolExecutor(self._config.concurrency) as pool:
            return list(pool.map(self._rate, messages, responses))

    def _rate(self, messages: Messages, response: str) -> Rating:
        try:
            reply = self._client.chat.completions.create(
                model=self._config.model,
                messages=[{"role": "user", "content": prompt(self._config.prompt, last_request(messages), response)}],
                **self._config.request,
            )
            text = reply.choices[0].message.content or ""
        except self._openai.APIConnectionError as error:
            return Rating(None, f"no reply ({error.__cause__ or error})", unreachable=True)
        except (self._openai.AuthenticationError, self._openai.PermissionDeniedError, self._openai.NotFoundError) as error:
            raise CodeBlockError(_refused(self._config, error)) from error
        except self._openai.APIError as error:
            return Rating(None, f"{error}"[:200])
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            return Rating(None, f"the reply is not a chat completion ({error})"[:200])
        quality = parse(text)
        return Rating(quality, None if quality is not None else f"no number from 0 to {SCALE} in {text[:80]!r}")


def prompt(template: str, instruction: str, response: str) -> str:
    """The template with both texts in their places; braces elsewhere, and in the texts, stay as they are."""
    texts = {"instruction": instruction, "response": response}
    return _PLACE.sub(lambda place: texts[place.group(1)], template)


def parse(reply: str) -> float | None:
    """The first number of a reply, after the thoughts of a reasoning model; None where there is none or it is above 5."""
    number = _NUMBER.search(_THOUGHT.sub("", reply))
    if number is None or float(number.group()) > SCALE or reply[: number.start()].rstrip(" ").endswith("-"):
        return None
    return float(number.group())


def _refused(config: RatingConfig, error: Exception) -> str:
    told = " ".join(str(error).split())[:160]
    return f"filter.rating.url={config.url}: refused ({told}); check filter.rating.model, url and the key in {config.key_env}"


def _openai() -> Any:
    try:
        import openai
    except ImportError as error:
        raise CodeBlockError('filter.rating: needs the client of the API; pip install "codeblock[rating]"') from error
    return openai
