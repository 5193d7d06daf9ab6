"""Find the final answer in a response. Every pattern is linear in the text, and only its tail is read."""

from __future__ import annotations

import re

TAIL_CHARS = 20_000
"""Characters at the end of a response that are searched; the final answer of a longer one stands there too."""

_BRACES = re.compile(r"\\{1,2}(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_ANSWER_LABEL = re.compile(r"\banswer[*_ \t]{0,8}[:：]", re.IGNORECASE)
_HASHES = re.compile(r"(?<!#)####(?!#)")
_A_LABEL = re.compile(r"^[ \t]{0,8}A[:：]", re.MULTILINE)
_NUMBER = re.compile(r"(?:(?<![\w.)])-)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
_ONLY_MARKUP = re.compile(r"[\s*$`}\\\[\](){]*")
# A label may stand alone, its value (perhaps in a display formula) a few lines below.
_LINES_AFTER_LABEL = 5


def extract_answer(response: str, *, allow_last_number: bool = False) -> str | None:
    r"""The final answer as written, without the label and the markup around it; `None` when there is none.

    The first of these that the last `TAIL_CHARS` characters hold decides, always by its last occurrence:

    1. `\boxed{...}` (or `\fbox`) with balanced braces that is not empty;
    2. `Answer:` in any case, also `**Answer:**`; when the rest of its line is empty, one of the next lines counts;
    3. `#### ...` (GSM8K);
    4. a line that starts with `A:`;
    5. with `allow_last_number`, the last number in the text.
    """
    tail = response[-TAIL_CHARS:]
    boxed = _last_boxed(tail)
    if boxed is not None:
        return boxed
    for label in (_ANSWER_LABEL, _HASHES, _A_LABEL):
        value = _last_labelled(tail, label)
        if value is not None:
            return value
    if allow_last_number:
        numbers = _NUMBER.findall(tail)
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
    ends = [found.end() for found in label.finditer(text)]
    if not ends:
        return None
    for line in text[ends[-1] :].split("\n", _LINES_AFTER_LABEL)[:_LINES_AFTER_LABEL]:
        if not _ONLY_MARKUP.fullmatch(line):
            return strip_markup(line.lstrip("#} \t"))
    return None


def strip_markup(text: str) -> str:
    r"""`text` without outer spaces, Markdown emphasis, closing full stop, and `$...$`, `\(...\)` or `\[...\]`."""
    previous = None
    while previous != text:
        previous = text
        text = text.strip().lstrip("*`").rstrip("*`.,; \t\r\n")
        for left, right in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
            inside = text[len(left) : -len(right)]
            if text == left + inside + right and left not in inside:
                text = inside
    return text
