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
        (r"Answer: \boxed{42}", "42"),
        ("Answer: $42$.", "42"),
        ("**Final Answer:** $42$", "42"),
        ("**Answer**: 42", "42"),
        ("__Answer__: 42", "42"),
        ("Answer: **42**.", "42"),
        ("The answer is: 42", "42"),
        ("So the final answer is:\n\n42", "42"),
        (r"\text{Answer}: 5", "5"),
        (r"\text{Answer: 5}", "5"),
        (r"\text{Answer: } 5", "5"),
        ("Answer: The answer is 12.", "12"),
        ("Final Answer: The final answer is $12$. I hope it is correct.", "12"),
        ("Answer: isosceles", "isosceles"),
        ("Answer: 7\nBecause of this.", "7"),
        ("Answer: \\begin{pmatrix} 1 \\\\\n 2 \\end{pmatrix}\nas said", "\\begin{pmatrix} 1 \\\\\n 2 \\end{pmatrix}"),
        ("Answer:\n\\[\n\\begin{cases}\n1\n\\end{cases}\n\\]", "\\begin{cases}\n1\n\\end{cases}"),
        ("Answer: \\begin{pmatrix} 1\ncut off", "\\begin{pmatrix} 1"),
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
    ("response", "expected"),
    [
        (r"<think>\boxed{1}</think>\boxed{2}", "2"),
        (r"<think>\boxed{1}</think>Answer: 2", "2"),
        (r"<think>\boxed{1}</think>So it is 2.", "1"),
        (r"<think>\boxed{1}</think>", "1"),
        (r"\boxed{1} <think> Answer: 3", "1"),
        (r"<think>\boxed{1}</think>Answer: 2</think>#### 3", "3"),
        (r"<think>\boxed{1</think>}", "1"),
        (r"<think>Answer: 1</think>\boxed{", "1"),
    ],
)
def test_what_follows_the_thinking_decides_if_it_answers(response: str, expected: str | None) -> None:
    assert extract_answer(response) == expected


def test_a_last_number_after_the_thinking_counts_when_asked() -> None:
    assert extract_answer(r"<think>\boxed{1}</think>It is 2.", allow_last_number=True) == "2"
    assert extract_answer(r"<think>\boxed{1}</think>It is so.", allow_last_number=True) == "1"
    assert extract_answer("<think>It is 1.</think>It is so.", allow_last_number=True) == "1"


@pytest.mark.parametrize(
    "response",
    [
        "",
        "   \n",
        "the result is 5",
        "##### 5",
        "### 5",
        r"\boxed{5",
        r"\boxed{}",
        "answered: 5",
        "BA: 5",
        "the answer is 5",
    ],
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


# For each pattern, what it would have to scan again and again if it were not linear.
HOSTILE = [
    r"\boxed{",
    r"\boxed ",
    r"\boxed{}",
    r"\boxed{1",
    "\\",
    "{",
    "}",
    r"\begin{",
    r"Answer: \begin{",
    "Answer:",
    "Answer:\n",
    "Answer:\n\n\n\n\n",
    "answer ",
    "answer is",
    "answer" + "*" * 9,
    "Answer: *",
    "Answer: the answer is ",
    "I hope it is correct",
    "#",
    "#### ",
    "A:\n",
    "A:",
    " \n",
    "1,",
    "1.",
    "-",
    "-1",
    "*.$",
    "* ",
    "` ",
    "$ $",
    r"\(",
    r"\[ \( $",
    "</think>",
    "\u2003",
    "\n",
    "\x00",
    "\ud800",
    "answer：",
]


def seconds(text: str) -> float:
    """The least of three, so that what else the machine does counts for little."""
    least = float("inf")
    for _ in range(3):
        started = time.thread_time()
        extract_answer(text, allow_last_number=True)
        least = min(least, time.thread_time() - started)
    return least


@pytest.mark.parametrize("closing", ["", "}", "$", "*", "\n5"])
@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_with_the_length_and_no_faster(piece: str, closing: str) -> None:
    def text(length: int) -> str:
        count = length // (len(piece) + len(closing))
        return "Answer: " + piece * count + closing * count

    small, large = seconds(text(TAIL_CHARS // 16)), seconds(text(TAIL_CHARS - 20))
    # Sixteen times as long, quadratic would be 256 times as slow; below a millisecond, the clock is too coarse.
    assert large < max(80 * small, 0.005)


def test_a_megabyte_takes_no_longer_than_its_tail() -> None:
    for piece in HOSTILE:
        assert seconds(piece * (1_000_000 // len(piece))) < 1


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
