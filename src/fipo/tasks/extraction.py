"""Find the final answer in a response. Every pattern is linear in the text, and only its tail is read."""

from __future__ import annotations

import re

TAIL_CHARS = 20_000
"""Characters at the end of a response that are searched; the final answer of a longer one stands there too."""

_THINKING_ENDS = "</think>"
_BRACES = re.compile(r"\\{1,2}(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_ANSWER_LABEL = re.compile(r"(?<![A-Za-z0-9])answer(?:[ \t]{1,4}is)?[*_ \t}]{0,8}[:：]", re.IGNORECASE)
_HASHES = re.compile(r"(?<!#)####(?!#)")
_A_LABEL = re.compile(r"^[ \t]{0,8}A[:：]", re.MULTILINE)
_NUMBER = re.compile(r"(?:(?<![\w.)])-)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
_ONLY_MARKUP = re.compile(r"[\s*$`}\\\[\](){]*")
# "Final Answer: The final answer is $5$. I hope it is correct." is how few-shot prompts for mathematics end.
_SENTENCE = re.compile(r"(?:the )?(?:final )?answer is:?(?![a-z])", re.IGNORECASE)
_SENTENCE_ENDS = "I hope it is correct"
_SPACES = "".join(filter(str.isspace, map(chr, range(0x3001))))
# Each in one call, since one character a round would take quadratic time.
_BEFORE, _AFTER = _SPACES + "*`", _SPACES + "*`.,;"
# A label may stand alone, its value (perhaps in a display formula) a few lines below.
_LINES_AFTER_LABEL = 5
# A matrix is often written with one row a line.
_LINES_OF_ENVIRONMENT = 20


def extract_answer(response: str, *, allow_last_number: bool = False) -> str | None:
    r"""The final answer as written, without the label and the markup around it; `None` when there is none.

    What follows the last `</think>` decides when it holds an answer; else the whole text counts. The first of these
    that the last `TAIL_CHARS` characters hold is taken, always by its last occurrence:

    1. `\boxed{...}` (or `\fbox`) with balanced braces that is not empty;
    2. `Answer:` or `answer is:` in any case, also `**Answer:**`; when the rest of its line is empty, one of the next
       lines counts;
    3. `#### ...` (GSM8K);
    4. a line that starts with `A:`;
    5. with `allow_last_number`, the last number in the text.
    """
    tail = response[-TAIL_CHARS:]
    _, closed, final = tail.rpartition(_THINKING_ENDS)
    if closed:
        found = _extract(final, allow_last_number)
        if found is not None:
            return found
    # A line ends there: what was thought does not run on into what follows.
    return _extract(tail.replace(_THINKING_ENDS, "\n"), allow_last_number)


def _extract(text: str, allow_last_number: bool) -> str | None:
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed
    for label in (_ANSWER_LABEL, _HASHES, _A_LABEL):
        value = _last_labelled(text, label)
        if value is not None:
            return value
    if allow_last_number:
        numbers = _NUMBER.findall(text)
        return numbers[-1].rstrip(",") if numbers else None
    return None


def _last_boxed(text: str) -> str | None:
    """Content of the box that opens last among the closed, non-empty ones: one pass with a stack of open braces."""
    open_braces: list[tuple[bool, int]] = []
    best_start, best = -1, None
    for token in _BRACES.finditer(text):
        symbol = token.group()
        if symbol == "}":
            if not open_braces:
                continue
            is_box, start = open_braces.pop()
            if is_box and start > best_start and (content := text[start : token.start()].strip()):
                best_start, best = start, content
        elif symbol.endswith("{") and symbol != r"\{":
            open_braces.append((symbol != "{", token.end()))
    return best


def _last_labelled(text: str, label: re.Pattern[str]) -> str | None:
    end = -1
    for found in label.finditer(text):
        end = found.end()
    if end < 0:
        return None
    lines = text[end:].split("\n", _LINES_AFTER_LABEL + _LINES_OF_ENVIRONMENT)
    for number, line in enumerate(lines[:_LINES_AFTER_LABEL]):
        if not _ONLY_MARKUP.fullmatch(line):
            value = _closed_environment(line, lines[number + 1 : number + 1 + _LINES_OF_ENVIRONMENT])
            return strip_markup(_answer_alone(_before_stray_brace(value.lstrip("#} \t"))))
    return None


def _closed_environment(line: str, following: list[str]) -> str:
    r"""`line`, with as many of the following lines as it takes to close its `\begin{...}`; unclosed, it stays alone."""
    opened = line.count(r"\begin{") - line.count(r"\end{")
    if opened <= 0:
        return line
    for count, other in enumerate(following, 1):
        opened += other.count(r"\begin{") - other.count(r"\end{")
        if opened <= 0:
            return "\n".join([line, *following[:count]])
    return line


def _before_stray_brace(text: str) -> str:
    r"""`text` up to a brace that it closes but does not open, as in `\text{Answer: 5}`."""
    depth = 0
    for token in _BRACES.finditer(text):
        symbol = token.group()
        if symbol == "}":
            depth -= 1
            if depth < 0:
                return text[: token.start()]
        elif symbol.endswith("{") and symbol != r"\{":
            depth += 1
    return text


def _answer_alone(text: str) -> str:
    """`text` without the sentence that some write around the value, if a value is left."""
    stripped = text.lstrip("* ")
    if found := _SENTENCE.match(stripped):
        stripped = stripped[found.end() :]
    stripped = stripped.partition(_SENTENCE_ENDS)[0]
    return text if _ONLY_MARKUP.fullmatch(stripped) else stripped


def strip_markup(text: str) -> str:
    r"""`text` without outer spaces, Markdown emphasis, closing full stop, and `$...$`, `\(...\)` or `\[...\]`."""
    previous = None
    while previous != text:
        previous = text
        text = text.lstrip(_BEFORE).rstrip(_AFTER)
        for left, right in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
            inside = text[len(left) : -len(right)]
            if text == left + inside + right and left not in inside:
                text = inside
    return text
