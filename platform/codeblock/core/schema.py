"""The columns that pass between the stages: the only thing that stages share.

    pairs -> filtered -> tokenized -> segmented (items, data flow) -> ranked -> kept -> scored (nll per token)
          -> selected (weight per token)

One Parquet row is one instruction-response pair. Shapes: T is the number of tokens of the rendered pair (prompt and
response), I the number of items, E the number of def-use edges. Character offsets count Unicode code points
of the `response` string; they are never byte offsets.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

import pyarrow as pa


class TokenClass(IntEnum):
    """What a token is for the method (METHOD: stages 2 and 3). Values are stored; never renumber them."""

    PROMPT = 0
    TEXT = 1  # natural language around the code
    CODE = 2  # code that is not core logic
    CORE = 3  # core logic token: identifiers, operators, literals, control keywords
    STOP = 4  # the end-of-turn token


class ItemKind(StrEnum):
    """The kind of a coding item."""

    IMPORT = "import"
    FUNCTION = "function"
    CLASS = "class"
    CONTROL = "control"
    DEFINITION = "definition"
    CALL = "call"
    RETURN = "return"
    COMMENT = "comment"
    OTHER = "other"


class Reason(StrEnum):
    """Why a row left the run. `REJECTED` are unusable rows, `FILTERED` usable ones that a quality filter took."""

    # unusable
    INVALID_JSON = "invalid_json"
    NOT_UTF8 = "not_utf8"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_COLUMN = "missing_column"
    WRONG_TYPE = "wrong_type"
    EMPTY_INSTRUCTION = "empty_instruction"
    EMPTY_RESPONSE = "empty_response"
    LAST_TURN_NOT_ASSISTANT = "last_turn_not_assistant"
    UNKNOWN_ROLE = "unknown_role"
    UNSUPPORTED_CONTENT = "unsupported_content"
    RESPONSE_TOO_LARGE = "response_too_large"
    LONGER_THAN_CONTEXT = "longer_than_context"
    TEMPLATE_ERROR = "template_error"
    SPECIAL_TOKEN = "special_token"
    SEGMENTATION_ERROR = "segmentation_error"
    SEGMENTATION_CRASH = "segmentation_crash"
    SEGMENTATION_TIMEOUT = "segmentation_timeout"
    # usable, taken by a filter
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    CONTAMINATED = "contaminated"
    BELOW_MIN_QUALITY = "below_min_quality"
    NO_CODE = "no_code"
    SYNTAX_ERROR = "syntax_error"
    BELOW_SUBSET = "below_subset_ratio"


FILTERED: Final = frozenset(
    {
        Reason.DUPLICATE,
        Reason.NEAR_DUPLICATE,
        Reason.CONTAMINATED,
        Reason.BELOW_MIN_QUALITY,
        Reason.NO_CODE,
        Reason.SYNTAX_ERROR,
        Reason.BELOW_SUBSET,
    }
)

MESSAGES_TYPE: Final = pa.list_(
    pa.struct(
        [
            ("role", pa.string()),  # system, user, assistant or tool
            ("content", pa.string()),
            ("name", pa.string()),  # of a speaker or a tool; null for most turns, as are the others below
            ("tool_calls", pa.string()),  # JSON, as transformers' chat templates take it
            ("tool_call_id", pa.string()),
        ]
    )
)

PAIRS: Final = pa.schema(
    [
        ("id", pa.string()),  # hash of messages and response: equal content has equal ids
        ("messages", MESSAGES_TYPE),  # every turn before the response
        ("response", pa.string()),
        ("source", pa.string()),  # file and line or row, for error messages
        ("quality", pa.float32()),  # a number of the data, higher is better; null where it has none
        ("dataset", pa.string()),  # name of the data set; null for pairs that come from memory
        ("tools", pa.string()),  # JSON of the tools that the conversation may call; null where there are none
    ]
)

"""`filtered` has these columns too."""

_TOKENS = [
    *PAIRS,
    ("input_ids", pa.list_(pa.int32())),  # [T]
    ("response_start", pa.int32()),  # index of the first response token
]

TOKENIZED: Final = pa.schema(
    [
        *_TOKENS,
        (
            "token_start",
            pa.list_(pa.int32()),
        ),  # [T] first character of the response that a token stands for, -1 in the prompt
        ("token_end", pa.list_(pa.int32())),  # [T] and the one behind its last
    ]
)

SEGMENTED: Final = pa.schema(
    [
        *_TOKENS,
        ("token_class", pa.list_(pa.uint8())),  # [T] TokenClass
        ("token_item", pa.list_(pa.int32())),  # [T] index into the items, -1 outside code
        ("token_word", pa.list_(pa.int32())),  # [T] word number of informative natural language, -1 elsewhere
        ("item_kind", pa.list_(pa.string())),  # [I] ItemKind
        (
            "item_spans",
            pa.list_(pa.list_(pa.int32())),
        ),  # [I] flat start, end, start, end ... characters of the response
        ("item_reach", pa.list_(pa.float32())),  # [I] 0..1
        ("item_bridge", pa.list_(pa.float32())),  # [I] 0..1
        ("edges", pa.list_(pa.int32())),  # [2E] flat def, use, def, use ... item indices
        ("language", pa.string()),  # of the largest code region; "text" where no grammar was used
        ("language_from", pa.string()),  # how that was decided: a value of segment.Decided
    ]
)

"""`kept` has these columns too."""

SCORES: Final = pa.schema([("id", pa.string()), ("nll", pa.list_(pa.float32()))])  # [T] natural log, NaN outside the response
"""The stage `scored`; the nll of a second model and the attention to the prompt are kept alike, under names of their own."""

SCORED: Final = pa.schema([*SEGMENTED, SCORES.field("nll")])
"""A kept pair with its scores beside, as selection sees it."""

EMBEDDED: Final = pa.schema([("id", pa.string()), ("embedding", pa.list_(pa.float16()))])  # [D] width of the model

RANKED: Final = pa.schema(
    [
        ("id", pa.string()),
        ("tokens", pa.int32()),  # of the response
        ("rank", pa.int32()),  # 0 is the best of the whole pool; no two are equal
        ("dataset", pa.string()),  # name of the data set; null for pairs that come from memory
        ("signals", pa.list_(pa.float32())),  # one of each ranker of `rank.by`, higher is better, NaN where unknown
    ]
)

SELECTED: Final = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),  # "train" or "dev"
        ("input_ids", pa.list_(pa.int32())),  # [T]
        ("token_class", pa.list_(pa.uint8())),  # [T]
        ("weight", pa.list_(pa.float32())),  # [T] weight of the token's nll in the loss, 0 is context only
        ("selected", pa.list_(pa.bool_())),  # [T] whether the strategy chose the token; read by codeblock.core.supervised
    ]
)

REJECTED: Final = pa.schema(
    [
        ("id", pa.string()),  # null where the row could not be read
        ("source", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),  # Reason
        ("detail", pa.string()),
    ]
)
