"""What instructions ask for by name, and whether responses give it."""

import math

import pytest

from codeblock.rank.asks import asked, defines, share_answered


@pytest.mark.parametrize(
    ("instruction", "names"),
    [
        ("Write a function called `compute_entries` that takes a list.", {"compute_entries"}),
        ("Write a Python function named add that adds.", {"add"}),
        ("Create a function collect_items that is given a list of numbers.", {"collect_items"}),
        ("Implement `compute_runs`, a Python function that goes through a list.", {"compute_runs"}),
        ("make_items: a function that takes a list of numbers. Give me the Python code.", {"make_items"}),
        ("Create a class Meter that starts with a given total, has a method `push(x)`.", {"Meter", "push"}),
        ('Write the method "toString" of a class named Point.', {"toString", "Point"}),
        ("Can you code a function `build_words` which joins words?", {"build_words"}),
        ("Write a function that sorts a list.", set()),
        ("Create a class for a binary tree, and a function to search it.", set()),
    ],
)
def test_the_names_to_define(instruction, names):
    assert asked(instruction).defined == names


def test_other_names_in_backticks_are_to_be_used():
    assert asked("Write a function `f` that sorts with `sorted` and `key=len`.").named == {"sorted"}
    assert asked("Mend this:\n```python\ndef g(): `h`\n```\nand print it").named == set()


@pytest.mark.parametrize(
    ("instruction", "languages"),
    [
        ("Write it in Java.", ("java",)),
        ("Write a JavaScript function.", ("javascript", "typescript", "tsx", "html")),
        ("Create a C++ program.", ("cpp", "c")),
        ("Implement a stack in C.", ("c", "cpp")),
        ("Write it in C# please", ("csharp",)),
        ("Translate a program in Java to one in Python", None),
        ("Reverse a string.", None),
        ("Let it go on in c minor", None),
    ],
)
def test_the_language_to_answer_in(instruction, languages):
    assert asked(instruction).languages == languages


@pytest.mark.parametrize(
    "code",
    [
        "def area(r): return r",
        "async def area(r): pass",
        "function area(r) { return r }",
        "const area = (r) => r",
        "area = lambda r: r",
        "area: Callable = f",
        "public static double area(double r) {\n}",
        "func (c Circle) area() float64 {",
        "fn area(r: f64) -> f64 {",
        "area() { echo $1; }",
        "CREATE TABLE area (id INT)",
        "struct area { int x; };",
    ],
)
def test_a_definition_in_many_languages(code):
    assert defines(code, "area")
    assert not defines(code, "are")


@pytest.mark.parametrize("code", ["print(area(1))", "return area(x)", "if area == 1:", "x = area(1)", "The function `area` is"])
def test_a_use_is_no_definition(code):
    assert not defines(code, "area")


def test_the_share_of_what_is_asked_for():
    wanted = asked("Write a Python class `Box` with the methods `put` and `get`. Use `deque`.")
    python = frozenset({"python"})
    whole = "class Box:\n  def put(self): deque()\n  def get(self): pass"
    assert share_answered(whole, wanted, python) == 1
    assert share_answered(whole.replace("get", "take"), wanted, python) == 0.75
    assert share_answered(whole, wanted, frozenset({"ruby"})) == 0
    assert share_answered("I cannot.", wanted, frozenset()) == 0
    assert math.isnan(share_answered("x = 1", asked("Set x to 1."), python))
    assert math.isnan(share_answered("x = 1", asked("Set x to 1 in Python."), frozenset()))  # a language that cannot be told
