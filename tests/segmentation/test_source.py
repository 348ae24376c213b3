"""What the grammars get is as long as the text, byte by byte, and has no character that they crash on."""

from hypothesis import given
from hypothesis import strategies as st

from codeblock.segmentation import segment
from codeblock.segmentation.source import encode, parseable


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_only_characters_of_four_bytes_are_replaced(text: str) -> None:
    data = text.encode()
    given_to_grammar = parseable(data)
    assert len(given_to_grammar) == len(data)
    at = 0
    for character in text:
        size = len(character.encode())
        piece = given_to_grammar[at : at + size].decode()
        assert piece == character if size < 4 else piece == ("éé" if character.isalnum() else "¤¤")
        at += size


def test_names_stay_those_of_the_text() -> None:
    source = "𠀀 = 1\n𠀁 = 2\nprint(𠀁)\n"
    assert encode(source).data.decode() == source
    found = segment(source, "python", max_item_tokens=1)
    assert not found.has_error
    assert [[source[a:b] for a, b in item.spans] for item in found.items] == [["𠀀 = 1"], ["𠀁 = 2"], ["print(𠀁)"]]
    assert [tuple(edge) for edge in found.edges] == [(1, 2)]
