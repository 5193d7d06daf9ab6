from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fipo.tasks.extraction import TAIL_CHARS, extract_answer, strip_markup


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (r"so \boxed{42}.", "42"),
        (r"first \boxed{1}, then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{ \boxed{7} }", "7"),
        (r"\boxed{x = \boxed{7}}", "7"),
        (r"\fbox{9}", "9"),
        (r"\boxed {5}", "5"),
        ("a JSON string: \\\\boxed{5}", "5"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"stray } and { before \boxed{3}", "3"),
        (r"\boxed{5}. It stands in \boxed{}.", "5"),
        (r"\boxed{6} and a box cut off: \boxed{7", "6"),
        ("Answer: 12", "12"),
        ("Answer: 1\nno, wait\nAnswer: 2", "2"),
        ("**Answer:** 12", "12"),
        ("**Answer: 12**", "12"),
        ("Final answer: $x+1$.", "x+1"),
        (r"Answer: \(x+1\)", "x+1"),
        ("ANSWER : 3", "3"),
        ("Answer：3", "3"),
        ("\\textbf{Answer:} 5", "5"),
        ("Answer:\n\n\\[\n\\frac{1}{2}\n\\]", r"\frac{1}{2}"),
        ("Answer:\n$$\n8\n$$", "8"),
        ("reasoning\n#### 1,000", "1,000"),
        ("steps\nA: 18", "18"),
        ("steps\n  A: 18\n", "18"),
    ],
)
def test_marked_answers(response: str, expected: str) -> None:
    assert extract_answer(response) == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("Answer: 1\n#### 2\nA: 3\n\\boxed{4}", "4"),
        ("\\boxed{4}\nAnswer: 1\n#### 2\nA: 3", "4"),
        ("A: 3\n#### 2\nAnswer: 1", "1"),
        ("A: 3\n#### 2", "2"),
        ("Answer:\n", None),
        ("### Answer:\n\n### 2", "2"),
    ],
)
def test_priority(response: str, expected: str | None) -> None:
    assert extract_answer(response) == expected


@pytest.mark.parametrize(
    "response",
    ["", "   \n", "the result is 5", "##### 5", "### 5", r"\boxed{5", r"\boxed{}", "answered: 5", "BA: 5"],
)
def test_nothing_marked(response: str) -> None:
    assert extract_answer(response) is None


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("it is 5 or rather 6.", "6"),
        ("that makes -3", "-3"),
        ("between 3-5", "5"),
        ("1,234.50 dollars", "1,234.50"),
        ("in total 5, I think", "5"),
        ("no digits", None),
        (r"12 apples, \boxed{3}, 4 pears", "3"),
    ],
)
def test_last_number_only_when_asked(response: str, expected: str | None) -> None:
    assert extract_answer(response, allow_last_number=True) == expected


def test_only_the_tail_is_read() -> None:
    assert extract_answer(r"\boxed{1}" + " " * TAIL_CHARS) is None
    assert extract_answer("x" * 10 * TAIL_CHARS + r" \boxed{1}") == "1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" **5** ", "5"),
        ("$5$.", "5"),
        ("$$5$$", "5"),
        (r"\[5\]", "5"),
        ("`5`", "5"),
        ("$5", "$5"),
        ("$a$ and $b$", "$a$ and $b$"),
        ("$", "$"),
        ("", ""),
        (".", ""),
    ],
)
def test_strip_markup(text: str, expected: str) -> None:
    assert strip_markup(text) == expected


HOSTILE = [
    r"\boxed{" * 200_000,
    r"\boxed{" * 3000 + "}" * 3000,
    "\\" * 200_000,
    "{" * 200_000,
    "Answer:" * 100_000,
    "Answer:\n" * 100_000,
    "answer" + " " * 200_000,
    ("answer" + "*" * 9) * 20_000,
    "#### " * 50_000,
    "A:\n" * 100_000,
    "1," * 100_000,
    "-" * 200_000,
    "Answer: " + "*.$" * 50_000,
    "Answer: " + r"\(" * 50_000,
]


@pytest.mark.parametrize("index", range(len(HOSTILE)))
def test_hostile_text_comes_back(index: int) -> None:
    started = time.monotonic()
    extract_answer(HOSTILE[index], allow_last_number=True)
    # Not a measure of speed: quadratic scans of these texts take many minutes.
    assert time.monotonic() - started < 60


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["\\boxed{", "\\", "{", "}", "$", "Answer:", "####", "A:", "\n", "**", "5", "x", "-", ".", " "])
        | st.text(max_size=5),
        max_size=40,
    ).map("".join),
    st.booleans(),
)
def test_any_text_gives_stripped_text_of_the_response_or_none(text: str, last: bool) -> None:
    found = extract_answer(text, allow_last_number=last)
    assert found is None or (found in text and found == found.strip())


@given(st.text(alphabet=st.characters(blacklist_characters="\\{}"), min_size=1).filter(str.strip))
def test_any_plain_content_comes_out_of_its_box(content: str) -> None:
    assert extract_answer(f"so \\boxed{{{content}}} it is") == content.strip()
