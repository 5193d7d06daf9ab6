"""Is a response's final answer the reference answer? Numbers and words directly, all else by computer algebra."""

from __future__ import annotations

import functools
import math
import numbers
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fipo.errors import FIPOError
from fipo.tasks.extraction import extract_answer
from fipo.tasks.isolation import pool
from fipo.tasks.notation import MAX_EXPRESSION, canonical
from fipo.tasks.numerals import changes_number, read_number, same_number, without_unit

TIME_LIMIT = 5.0
"""Default seconds for one symbolic comparison."""

Verdict = tuple[bool, str]
"""Whether two answers are the same, and the reason of the `Grade`."""

_CACHED_REFERENCE = 2_000
_WORDS = re.compile(r"[A-Za-z][A-Za-z' -]+[A-Za-z]")
_LONG_WORD = re.compile(r"[A-Za-z]{3}")
# Control characters, half surrogates, and what is invisible or turns text around: no part of a readable answer.
_UNREADABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_ASSIGNED = re.compile(
    r"(?:\\text ?\{[^{}=]*\}|\\angle ?[A-Z]{1,3}|[A-Z]{2}|[A-Za-z](?: ?_ ?\{?\w+\}?)?(?: ?\([^()=]*\))?) ?= ?([^=]+)"
)
_CHOICE = re.compile(r"[A-J]")
_CHOSEN = re.compile(r"(?:\\text\w* ?\{)? ?(?:(?:option|choice) )?(?:\(([A-J])\)|([A-J])(?:[).:]|$))", re.IGNORECASE)
_OTHER_CHOICE = re.compile(r"(?<![A-Za-z])[A-J](?![A-Za-z])")
_PRIME = re.compile(r"(?<=[A-Za-z)}\]])'+|(?<=\d)['\"]+(?=\d)|\\prime(?![a-zA-Z])")
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
    exactly ("073" is 73, "1,234" is 1234, "18.0" is 18, "1 1/2" is 1.5), without their units unless both are known and
    differ; 50% is equal to 50 and to 0.5, and 0.333333 to 1/3. Words are compared without case. Anything else goes to
    math-verify in a helper process, as LaTeX, never as code; answers longer than `MAX_EXPRESSION` characters do not.

    Raises `FIPOError` for a response that is not text, an answer that is neither text nor finite number, a time limit
    that is not positive, and when math-verify is needed but missing.
    """
    check_timeout(timeout)
    extracted, candidate, reference = _sides(response, answer, allow_last_number)
    if extracted is None:
        return Grade(False, None, "no answer")
    correct, reason = compare(candidate, reference, timeout)
    return Grade(correct, extracted, reason)


def grade_many(
    responses: Sequence[str],
    answers: Sequence[str | int | float],
    *,
    allow_last_number: bool = False,
    timeout: float = TIME_LIMIT,
    workers: int | None = None,
) -> list[Grade]:
    """`grade` for each response and its answer, in order; symbolic comparisons run side by side, equal ones once.

    Arguments:
        responses, answers, allow_last_number, timeout: as for `grade`, one answer a response.
        workers: comparisons at a time; more than the helper processes (`fipo.tasks.isolation.set_pool_size`, by
            default one a CPU core) make no difference.

    Raises `FIPOError` as `grade` does, naming the sample, and when the lengths differ.
    """
    check_timeout(timeout)
    if isinstance(responses, str) or isinstance(answers, str) or len(responses) != len(answers):
        counts = [
            f"one text as {name}" if isinstance(values, str) else f"{len(values)} {name}"
            for name, values in (("responses", responses), ("answers", answers))
        ]
        raise FIPOError(f"grade_many needs a list with one answer a response: got {' and '.join(counts)}")
    sides = []
    for index, (response, answer) in enumerate(zip(responses, answers)):
        try:
            sides.append(_sides(response, answer, allow_last_number))
        except FIPOError as error:
            raise FIPOError(f"sample {index}: {error}") from None
    verdicts = compare_many([side[1:] for side in sides if side[0] is not None], timeout, workers)
    grades = []
    for extracted, candidate, reference in sides:
        correct, reason = (False, "no answer") if extracted is None else verdicts[candidate, reference]
        grades.append(Grade(correct, extracted, reason))
    return grades


def same_answer(left: str, right: str, *, timeout: float = TIME_LIMIT) -> bool:
    """Whether two extracted answers are the same, by the rules of `grade`; the order of the two does not matter.

    An answer without content is the same as none, not even itself. `timeout`: seconds for a symbolic comparison; an
    overrun counts as different. Raises `FIPOError` for what is not text, and as `grade` does.
    """
    check_timeout(timeout)
    for answer in (left, right):
        if not isinstance(answer, str):
            raise FIPOError(f"an answer to compare must be text, not {type(answer).__name__}: {answer!r:.80}")
    return compare(*in_order(canonical(left), canonical(right)), timeout)[0]


def in_order(left: str, right: str) -> tuple[str, str]:
    """The two as (candidate, reference), the shorter as reference: math-verify treats the sides differently."""
    reference, candidate = sorted((left, right), key=lambda form: (len(form), form))
    return candidate, reference


def compare(candidate: str, reference: str, timeout: float) -> Verdict:
    """The verdict on two canonical forms."""
    return quick_verdict(candidate, reference) or _symbolic_verdict((candidate, reference), timeout)


def compare_many(
    pairs: Iterable[tuple[str, str]], timeout: float, workers: int | None = None
) -> dict[tuple[str, str], Verdict]:
    """The verdict on each (candidate, reference) of canonical forms, symbolic ones in parallel. Errors as `grade`."""
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise FIPOError(f"workers must be a whole number from 1 up, or None, not {workers!r}")
    verdicts: dict[tuple[str, str], Verdict] = {}
    slow: list[tuple[str, str]] = []
    for pair in dict.fromkeys(pairs):
        verdict = quick_verdict(*pair)
        if verdict is None:
            slow.append(pair)
        else:
            verdicts[pair] = verdict
    count = min(len(slow), pool.size, workers or pool.size)
    if count <= 1:
        return verdicts | {pair: _symbolic_verdict(pair, timeout) for pair in slow}
    executor = ThreadPoolExecutor(count, thread_name_prefix="fipo-grade")
    try:
        found = executor.map(lambda pair: _symbolic_verdict(pair, timeout), slow)
        return verdicts | dict(zip(slow, found))
    finally:
        # Without waiting: after an error or an interrupt, comparisons under way may still take their whole time limit.
        executor.shutdown(wait=False, cancel_futures=True)


def quick_verdict(candidate: str, reference: str) -> Verdict | None:
    """The verdict on two canonical forms where it needs no computer algebra, else `None`."""
    if not reference:
        return False, "no reference"
    if candidate == reference:
        return True, "same text"
    left, right = read_number(candidate), read_number(reference)
    if left and right:
        return (True, "same number") if same_number(left, right) else (False, "different number")
    if is_words(reference) or (right and is_words(candidate)):
        same = candidate.casefold() == reference.casefold()
        return same, "same text" if same else "different text"
    if len(candidate) > MAX_EXPRESSION or len(reference) > MAX_EXPRESSION:
        return False, "too long"
    if _UNREADABLE.search(candidate):
        return False, "unreadable"
    return _quick_by_form(candidate, reference)


def _quick_by_form(candidate: str, reference: str) -> Verdict | None:
    """`quick_verdict` on forms that math-verify takes for equal although they are not, or cannot read."""
    chosen = _CHOSEN.match(candidate) if _CHOICE.fullmatch(reference) else None
    if chosen and not _OTHER_CHOICE.search(candidate, chosen.end()):
        same = (chosen[1] or chosen[2]).upper() == reference
        return same, "same text" if same else "different text"
    # "x = 5" answers "5"; with a name on both sides, the names count.
    left, right = _ASSIGNED.fullmatch(candidate), _ASSIGNED.fullmatch(reference)
    if bool(left) != bool(right):
        value, other = read_number(left[1] if left else candidate), read_number(right[1] if right else reference)
        if value and other:
            return (True, "same number") if same_number(value, other) else (False, "different number")
    if changes_number(candidate) or changes_number(reference):
        return False, "different text"
    if _primes(candidate) != _primes(reference):
        return False, "different text"
    return None


def check_timeout(timeout: Any) -> None:
    """Raise `FIPOError` unless `timeout` is a positive number of seconds."""
    if isinstance(timeout, bool) or not (isinstance(timeout, (int, float)) and 0 < timeout < math.inf):
        raise FIPOError(f"the time limit of a grade must be a positive number of seconds, not {timeout!r}")


def _symbolic_verdict(pair: tuple[str, str], timeout: float) -> Verdict:
    (candidate, unit), (reference, other) = map(without_unit, pair)
    if unit and other and unit != other:
        return False, "different"
    try:
        verdict = pool.compare(candidate, reference, timeout)
    except (ModuleNotFoundError, RuntimeError, OSError) as error:
        raise FIPOError(f"grading other than plain numbers needs math-verify ({error}); install fipo[eval]") from error
    return verdict == "equal", _REASONS.get(verdict, _REASONS["crash"])


def _sides(response: Any, answer: Any, allow_last_number: bool) -> tuple[str | None, str, str]:
    """The extracted answer, its canonical form and that of the reference. Raises `FIPOError` for other types."""
    if not isinstance(response, str):
        raise FIPOError(f"a response to grade must be text, not {type(response).__name__}: {response!r:.80}")
    reference = _reference(_answer_text(answer))
    extracted = extract_answer(response, allow_last_number=allow_last_number)
    return extracted, canonical(extracted or ""), reference


def _answer_text(answer: Any) -> str:
    if isinstance(answer, str):
        return answer
    if isinstance(answer, bool) or not isinstance(answer, numbers.Real):
        raise FIPOError(f"a reference answer must be text or a number, not {type(answer).__name__}: {answer!r:.80}")
    if not math.isfinite(answer):
        raise FIPOError(f"a reference answer must be a finite number, not {answer!r}")
    # Without an exponent, which is no plain number to this grader.
    return str(answer) if isinstance(answer, numbers.Rational) else f"{Decimal(str(answer)):f}"


def _reference(answer: str) -> str:
    # A cache of long solutions would fill the memory, and they do not come back as often.
    return _cached_reference(answer) if len(answer) <= _CACHED_REFERENCE else _cached_reference.__wrapped__(answer)


@functools.lru_cache(maxsize=4096)
def _cached_reference(answer: str) -> str:
    return canonical(extract_answer(answer) or answer)


def is_words(form: str) -> bool:
    """Whether a canonical form is words, to be compared without case; "x - y" is none, nor is "AB"."""
    return bool(_WORDS.fullmatch(form)) and bool(_LONG_WORD.search(form))


def _primes(form: str) -> int:
    """Marks of derivatives, or of points, in what stands behind the last equals sign: the parser drops them."""
    value = form.rpartition("=")[2]
    return sum(1 if found == r"\prime" else len(found) for found in _PRIME.findall(value))
