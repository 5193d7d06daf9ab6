"""Is a response's final answer the reference answer? Numbers and words directly, all else by computer algebra."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from fipo.errors import FIPOError
from fipo.tasks.extraction import extract_answer, strip_markup
from fipo.tasks.isolation import worker

TIME_LIMIT = 5.0
"""Default seconds for one symbolic comparison."""
MAX_EXPRESSION = 500
"""Longer answers are compared as text alone."""

_SYMBOLS = str.maketrans(
    {"−": "-", "–": "-", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "×": r"\times ", "·": r"\cdot "}
    | {"÷": "/", "°": r"^\circ", "∪": r"\cup ", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "，": ",", "％": "%"}
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_REWRITES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda found: f"^{{{found.group().translate(_SUPERSCRIPTS)}}}"),
        (r"√(\d+|[a-zA-Z])", r"\\sqrt{\1}"),
        (r"\\?\$", ""),
        (r",?\\!\s*", lambda found: "," if found.group()[0] == "," else ""),
        (r"\{,\}", ","),
        (r"(?<!\\)\\[ ,;:]|~", " "),
        (r"(?<!\\)\\[()\[\]]", " "),
        (r"\\(?:left|right)(?![a-zA-Z])|\\displaystyle(?![a-zA-Z])", ""),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"(?<![\\a-zA-Z])(pi|sin|cos|tan|cot|log|ln)(?![a-zA-Z])", r"\\\1"),
        (r"\*\*", "^"),
        (r"(?<!\\)\\$", ""),
        (r"\s+", " "),
        (r"^ ?(?:=|≈|\\approx(?![a-zA-Z])) ?", ""),
    )
]
_FONT = re.compile(r"(?:\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox|boxed|fbox))? ?\{(.*)\}")
_BRACE = re.compile(r"\\.|[{}]")
_LONE_IN_PARENTHESES = re.compile(r"\(\s*([A-Za-z]|[-+]?\d+)\s*\)")
_NUMBER = re.compile(
    r"(?P<sign>[-+]?) ?[€£¥₹]? ?"
    r"(?:(?P<grouped>\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+)|(?P<plain>\d+)|(?=\.\d))(?:\.(?P<decimals>\d*))?"
    r"(?: ?(?P<percent>\\?%|\\?percent\b)|_\{?(?P<base>\d+)\}?| ?\^ ?\{? ?\\circ ?\}?)?"
    r"(?:(?: ?\\(?:text|mbox|mathrm|textrm) ?\{(?P<text_unit>[^{}]*)\}| (?P<unit>[A-Za-z][A-Za-z ./-]*))"
    r"(?: ?\^ ?\{?[23]\}?)?| ?[€£¥₹])?"
)
_WORDS = re.compile(r"[A-Za-z][A-Za-z' -]+[A-Za-z]")
_SHORT_UNITS = re.compile(r"(?:[cmk]?m|[km]g|[mcd]l|ft|in|yd|mi|hr|lb|oz|cc|cu|sq|rs)")
# Words after a number that change its value, join it to something else or belong to a formula.
_NOT_UNITS = re.compile(
    r"(?:hundred|thousand|million|billion|trillion|dozen|third|quarter|fourth|fifth|tenth|hundredth)s?|half|halves|am|pm|"
    r"and|or|to|from|not?|less|more|than|least|most|about|over|under|plus|minus|times|divided|by|squared|cubed|"
    r"factorial|mod|modulo|base|choose|root|sqrt|pi|sin|cos|tan|cot|sec|csc|log|ln|exp|inf|infinity"
)
_REASONS = {
    "equal": "symbolically equal",
    "different": "different",
    "unreadable": "unreadable",
    "timeout": "time limit",
    "crash": "comparison crashed",
}


@dataclass(frozen=True)
class Grade:
    """The verdict on one response.

    `extracted` is the answer found, as written, and `None` when there is none. `reason` is one of `same text`,
    `same number`, `symbolically equal` (correct); `no answer`, `no reference`, `different text`,
    `different number`, `different`, `too long`, `unreadable`, `time limit`, `comparison crashed` (incorrect).
    """

    correct: bool
    extracted: str | None
    reason: str


@dataclass(frozen=True)
class _Number:
    value: Fraction
    percent: bool
    base: str | None


def grade(
    response: str,
    answer: str | int | float,
    *,
    allow_last_number: bool = False,
    timeout: float = TIME_LIMIT,
) -> Grade:
    r"""Compare the final answer of `response` with `answer`.

    Arguments:
        response: the model's text; `fipo.tasks.extraction.extract_answer` finds the answer in it.
        answer: the reference: a number or text, also LaTeX, with `\boxed{}`, or a worked solution that ends in one.
        allow_last_number: take the last number of a response that marks no answer.
        timeout: seconds for a symbolic comparison; an overrun counts as incorrect.

    Rules: both sides are put in one form first (spacing, fonts, dollar signs). Two plain numbers are compared
    exactly ("073" is 73, "1,234" is 1234, "18.0" is 18), without their units, and 50% is equal to 50 and to 0.5.
    Words are compared without case. Anything else goes to math-verify in a helper process, as LaTeX, never as code;
    answers longer than `MAX_EXPRESSION` characters do not.

    Raises `FIPOError` for a response that is not text, an answer that is neither text nor number, a time limit that
    is not positive, and when math-verify is needed but missing.
    """
    if not isinstance(response, str):
        raise FIPOError(f"a response to grade must be text, not {type(response).__name__}: {response!r:.80}")
    if not (isinstance(timeout, (int, float)) and math.isfinite(timeout) and timeout > 0):
        raise FIPOError(f"the time limit of a grade must be a positive number of seconds, not {timeout!r}")
    if isinstance(answer, bool) or not isinstance(answer, (str, int, float)):
        raise FIPOError(f"a reference answer must be text or a number, not {type(answer).__name__}: {answer!r:.80}")
    reference = _reference(str(answer))
    extracted = extract_answer(response, allow_last_number=allow_last_number)
    if extracted is None:
        return Grade(False, None, "no answer")
    correct, reason = _compare(canonical(extracted), reference, timeout)
    return Grade(correct, extracted, reason)


def canonical(text: str) -> str:
    """`text` in the form that is compared: one spelling of spaces, symbols, fractions and thousands, no wrappers."""
    text = strip_markup(text)
    if len(text) > MAX_EXPRESSION:
        return text
    text = text.translate(_SYMBOLS)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    previous = None
    while previous != text:
        previous = text
        text = strip_markup(text)
        wrapped = _FONT.fullmatch(text)
        if wrapped and _balanced(wrapped[1]):
            text = wrapped[1]
        elif lone := _LONE_IN_PARENTHESES.fullmatch(text):
            text = lone[1]
    return text


@functools.lru_cache(maxsize=4096)
def _reference(answer: str) -> str:
    return canonical(extract_answer(answer) or answer)


def _compare(candidate: str, reference: str, timeout: float) -> tuple[bool, str]:
    if not reference:
        return False, "no reference"
    if candidate == reference:
        return True, "same text"
    left, right = _number(candidate), _number(reference)
    if left and right:
        return (True, "same number") if _same_number(left, right) else (False, "different number")
    if _WORDS.fullmatch(reference):
        same = candidate.casefold() == reference.casefold()
        return same, "same text" if same else "different text"
    if len(candidate) > MAX_EXPRESSION or len(reference) > MAX_EXPRESSION:
        return False, "too long"
    try:
        verdict = worker.compare(candidate, reference, timeout)
    except (ModuleNotFoundError, RuntimeError, OSError) as error:
        raise FIPOError(f"grading other than plain numbers needs math-verify ({error}); install fipo[train]") from error
    return verdict == "equal", _REASONS[verdict]


def _balanced(content: str) -> bool:
    """Whether the braces of `content` pair among themselves, so that the pair around it belongs together."""
    depth = 0
    for token in _BRACE.findall(content):
        depth += (token == "{") - (token == "}")
        if depth < 0:
            return False
    return depth == 0


def _number(text: str) -> _Number | None:
    """The plain number that `text` is, with percent sign and base but without its unit; `None` if it is none."""
    if len(text) > MAX_EXPRESSION or not (found := _NUMBER.fullmatch(text)):
        return None
    words = (found["unit"] or found["text_unit"] or "").lower().replace(".", " ").replace("/", " ").split()
    if any(_NOT_UNITS.fullmatch(word) or any(map(str.isdigit, word)) for word in words):
        return None
    # One or two bare letters are rather variables: "2 xy".
    if found["unit"] and len(words[0]) < 3 and not _SHORT_UNITS.fullmatch(words[0]):
        return None
    whole = re.sub("[, ]", "", found["grouped"] or found["plain"] or "0")
    value = Fraction(f"{found['sign']}{whole}.{found['decimals'] or '0'}")
    return _Number(value, percent=found["percent"] is not None, base=found["base"])


def _same_number(left: _Number, right: _Number) -> bool:
    if left.base and right.base and left.base != right.base:
        return False
    if left.value == right.value:
        return True
    if left.percent == right.percent:
        return False
    return left.value / 100 == right.value if left.percent else right.value / 100 == left.value
