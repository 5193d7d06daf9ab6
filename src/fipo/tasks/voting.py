"""Which of several answers are the same: classes for majority votes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from fipo.errors import FIPOError
from fipo.tasks.grading import TIME_LIMIT, check_timeout, compare_many, in_order, is_words
from fipo.tasks.notation import MAX_EXPRESSION, canonical
from fipo.tasks.numerals import Number, read_number, same_number

# A form that overran this often is compared as text alone: it is the likely cause.
_OVERRUNS = 2


def group_answers(answers: Sequence[str | None], *, timeout: float = TIME_LIMIT, limit: int = 24) -> list[int | None]:
    r"""The class of each answer: equal answers share one; `None` for no answer.

    Arguments:
        answers: extracted answers, as `Grade.extracted` holds them.
        timeout: seconds for one symbolic comparison; an overrun counts as different.
        limit: distinct forms that are compared symbolically; those after them only as text or plain number.

    Classes are numbered from 0 in the order of their first answer, which stands for its class in comparisons: an
    answer joins the first class whose answer is the same by the rules of `fipo.tasks.same_answer`. Raises `FIPOError`
    for an answer that is neither text nor `None`, a limit below 0, and as `grade` does.
    """
    check_timeout(timeout)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise FIPOError(f"limit must be a whole number of distinct answers from 0 up, not {limit!r}")
    for index, answer in enumerate(answers):
        if answer is not None and not isinstance(answer, str):
            raise FIPOError(f"answer {index} must be text or None, not {type(answer).__name__}: {answer!r:.80}")
    classes = _Classes(timeout, limit)
    forms = [None if answer is None else canonical(answer) for answer in answers]
    found = {form: classes.place(form) for form in dict.fromkeys(forms) if form}
    return [found.get(form or "") for form in forms]


class _Classes:
    """The classes so far, each by the form that came first."""

    def __init__(self, timeout: float, limit: int) -> None:
        self._timeout, self._limit = timeout, limit
        self._count = 0
        self._by_text: dict[str, int] = {}
        self._by_value: dict[Fraction, list[tuple[Number, int]]] = {}
        self._symbolic: dict[str, int] = {}
        self._overruns: Counter[str] = Counter()

    def place(self, form: str) -> int:
        """The class of a form that is new; it starts one if no class is the same."""
        number = read_number(form)
        place = self._by_text.get(form.casefold()) if is_words(form) else None
        if place is None and number is not None:
            place = self._of_number(number)
        takes_part = self._limit > 0 and len(form) <= MAX_EXPRESSION and not is_words(form)
        if takes_part:
            self._limit -= 1
            if place is None:
                place = self._of_expression(form)
        if place is None:
            place, self._count = self._count, self._count + 1
            if takes_part:
                self._symbolic[form] = place
            if number is not None:
                self._by_value.setdefault(number.value, []).append((number, place))
        if is_words(form):
            self._by_text.setdefault(form.casefold(), place)
        return place

    def _of_number(self, number: Number) -> int | None:
        # With a percent sign on one side, the values may differ by a hundred.
        near = [self._by_value.get(value, ()) for value in (number.value, number.value * 100, number.value / 100)]
        places = [place for numbers in near for other, place in numbers if same_number(number, other)]
        return min(places, default=None)

    def _of_expression(self, form: str) -> int | None:
        leaders = [leader for leader in self._symbolic if self._overruns[leader] < _OVERRUNS]
        pairs = {in_order(form, leader): leader for leader in leaders}
        verdicts: dict[Any, Any] = compare_many(pairs, self._timeout)
        for pair, leader in pairs.items():
            if verdicts[pair][1] in ("time limit", "comparison crashed"):
                self._overruns[form] += 1
                self._overruns[leader] += 1
        return min((self._symbolic[leader] for pair, leader in pairs.items() if verdicts[pair][0]), default=None)
