"""What instructions ask for by name, and whether responses give it."""

import math

import pytest

from codeblock.data.rank.asks import asked, defines, share_answered
from codeblock.data.rank.code import code_facts


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
        ("Translate it to Python: function sumArray(arr) { return 1 }", set()),
        ("Mend it.\n\nclass Point:\n    pass", set()),
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
        ("Convert the following C# code to C++.", None),
        ("Translate this Python code into an equivalent C++ program.", None),
        ("Parse an HTML table.", None),
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


def test_markup_has_no_definitions():
    assert asked('Add the class "wide" to the HTML element.').defined == set()
    assert asked('Change <p>Hello</p> so that it has a class named "wide".').defined == set()


def share(instruction, response):
    return pytest.approx(share_answered(response, asked(instruction), code_facts(response)), nan_ok=True)


def test_the_share_of_what_is_asked_for():
    instruction = "Write a Python class `Box` with the methods `put` and `get`. Use `deque`."
    whole = "```python\nclass Box:\n  def put(self): deque()\n  def get(self): pass\n```"
    assert share(instruction, whole) == 1
    assert share(instruction, whole.replace("get", "take")) == 0.75
    assert share(instruction, "I cannot.") == 0
    assert share("Set x to 1.", whole) == math.nan


def test_a_language_that_the_response_names_is_believed():
    assert share("Set x to 1 in Python.", "```python\nx = 1\n```") == 1
    assert share("Set x to 1 in Python.", "```ruby\nx = 1\n```") == 0


def test_a_language_that_is_recognised_may_be_another_one_that_takes_the_code():
    code = "public static int Square(int number)\n{\n    return number * number;\n}"
    assert share("Square a number in C#.", code) == 1  # Java takes it too
    assert share("Square a number in Python.", code) == 0
    assert share("Square a number in Swift.", code) == math.nan  # there is no grammar to ask
    assert share("Square a number in Python.", "Multiply it by itself.") == math.nan
