"""Plain numbers, compared exactly: integers, decimals, fractions, mixed numbers, with percent, base or unit."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from fractions import Fraction

from fipo.tasks.notation import MAX_EXPRESSION

ROUNDED_PLACES = 6
"""A decimal with this many places may stand for a fraction that it rounds, as 0.333333 does for 1/3."""

_GROUPED = r"\d{1,3}(?:,\d{3})+"
_PART = rf"-?(?:(?:{_GROUPED}|\d+)(?:\.\d+)?|\.\d+)"
_MONEY = r"(?:[€£¥₹]|USD|EUR|GBP|INR|US|Rs\.?|\\(?:pounds|euro|yen)(?![a-zA-Z]))"
_BASES = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9"}
_BASES |= {"ten": "10", "twelve": "12", "sixteen": "16"}
_TEXT = r"\\(?:text|mbox|math(?:rm|bf|it)|textrm|textbf|textit) ?\{"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?) ?(?:{_MONEY} ?(?P<minus>-?))?"
    r"(?:"
    rf"(?:(?P<mixed>\d+) ?)?\\frac ?(?:\{{ ?(?P<top>{_PART}) ?\}}|(?P<top_digit>\d)) ?"
    rf"(?:\{{ ?(?P<bottom>{_PART}) ?\}}|(?P<bottom_digit>\d))"
    rf"|(?:(?P<and>\d+) )?(?P<over>{_PART}) ?/ ?(?P<under>{_PART})"
    rf"|(?:(?P<whole>{_GROUPED}|\d{{1,3}}(?: \d{{3}})+|\d+)|(?=\.\d))"
    r"(?:\.(?P<decimals>\d*)(?:\\(?:overline|bar) ?(?:\{ ?(?P<repeated>\d+) ?\}|(?P<repeated_digit>\d)))?)?"
    r")"
    r"(?: ?(?P<percent>\\?%|\\?percent\b)"
    rf"| ?_ ?\{{?(?:{_TEXT}|\{{)? ?(?P<base>\d+|{'|'.join(_BASES)}) ?\}}?\}}?"
    r"|(?P<degree> ?\^ ?\{? ?\\circ ?\}?(?: ?(?:\\(?:text|mathrm) ?\{ ?)?[CF](?![a-zA-Z]) ?\}?)?))?"
    rf"(?:(?: ?{_TEXT}(?P<text_unit>[^{{}}\\]*)\}}|(?P<space> ?)(?P<unit>[A-Za-z][A-Za-z ./-]*))"
    r"(?: ?\^ ?\{?[23]\}?)?| ?[€£¥₹])?"
)
_SHORT_UNITS = re.compile(r"(?:[cmk]?m|[km]g|[mcd]l|ft|in|yd|mi|hr|lbs?|oz|cc|cu|sq|rs|am|pm|mph|kmh)")
# Words after a number that change its value, join it to something else or belong to a formula.
_NOT_UNITS = re.compile(
    r"(?:dozen|third|quarter|fourth|fifth|tenth|hundredth|hundred|thousand|million|billion|trillion)s?|half|halves|"
    r"and|or|to|from|not?|less|more|than|least|most|about|over|under|plus|minus|times|divided|by|squared|cubed|"
    r"factorial|mod|modulo|base|choose|root|sqrt|pi|sin|cos|tan|cot|sec|csc|log|ln|exp|inf|infinity"
)
_MULTIPLES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
# Units that exclude one another, each with its other names; a plural in -s needs no mention.
_UNITS = (
    *("mm millimeter millimetre", "cm centimeter centimetre", "m meter metre", "km kilometer kilometre", "mi mile"),
    *("in inch inches", "ft foot feet", "yd yard", "mg milligram", "g gram", "kg kilogram", "lb", "oz ounce", "mph"),
    *("ml milliliter millilitre", "l liter litre", "s sec second", "min minute", "h hr hour", "day", "week", "month"),
    *("year yr", "kph kmh", "dollar usd", "cent", "euro eur", "degree", "radian rad", "percent", "am", "pm"),
)
_UNIT_NAMES = {name: names.split()[0] for names in _UNITS for name in names.split()}
# Before a unit of its own, an expression may have these.
_UNIT_PARTS = frozenset({"square", "cubic", "sq", "cu", "unit", "units", "per"})
_EXPRESSION_WITH_UNIT = re.compile(
    rf"(?P<rest>.*?[\w)}}\]|!]) ?(?:{_TEXT}(?P<text>[^{{}}\\]*)\}}|(?<= )(?P<bare>[A-Za-z]{{2}}[A-Za-z ./-]*))"
    r"(?: ?\^ ?\{?[23]\}?)?"
)
_TRAILING_TEXT = re.compile(rf"\d ?{_TEXT}([^{{}}]*)\}}$")


@dataclass(frozen=True)
class Number:
    """A plain number: its `value` as written, the decimal `places` of a decimal, and what stands after it.

    `places` is `None` for a fraction. Of `units`, only those are kept whose difference makes two answers different.
    """

    value: Fraction
    places: int | None = 0
    percent: bool = False
    base: str | None = None
    units: tuple[str, ...] = ()


@functools.lru_cache(maxsize=4096)
def read_number(text: str) -> Number | None:
    """The plain number that the canonical `text` is; `None` if it is none."""
    if len(text) > MAX_EXPRESSION:
        return None
    if text.isdecimal():
        return Number(Fraction(int(text)))
    if not (found := _NUMBER.fullmatch(text)):
        return None
    words = _words(found["unit"] or found["text_unit"] or "")
    factor = _MULTIPLES.get(words[0], 1) if words else 1
    units = words if factor == 1 else words[1:]
    if any(_NOT_UNITS.fullmatch(word) or any(map(str.isdigit, word)) for word in units):
        return None
    unit = found["unit"]
    if unit and not _is_bare_unit(unit.split()[0], apart=bool(found["space"])):
        return None
    try:
        value, places = _value(found)
    except (ZeroDivisionError, OverflowError):
        return None
    if (found["sign"] == "-") != bool(found["minus"]):
        value = -value
    if found["degree"]:
        units = ["degree", *units]
    base = found["base"] and _BASES.get(found["base"], found["base"])
    return Number(value * factor, places, found["percent"] is not None, base, _known(units))


def same_number(left: Number, right: Number) -> bool:
    """Whether the two are equal: 50% is 50 and 0.5, units do not count unless both are known and differ."""
    if left.base and right.base and left.base != right.base:
        return False
    units = [number.units or (("percent",) if number.percent else ()) for number in (left, right)]
    if all(units) and units[0] != units[1]:
        return False
    if left.value == right.value:
        return True
    if left.percent != right.percent:
        left, right = (_hundredth(number) if number.percent else number for number in (left, right))
        if left.value == right.value:
            return True
    return _rounds(left, right) or _rounds(right, left)


def changes_number(text: str) -> bool:
    r"""Whether `text` ends in words that make another number of the one before: `5 \text{ dozen}`."""
    found = _TRAILING_TEXT.search(text)
    return found is not None and any(word.startswith("\\") or _NOT_UNITS.fullmatch(word) for word in _words(found[1]))


def without_unit(text: str) -> tuple[str, tuple[str, ...]]:
    r"""An expression such as `2\sqrt{3} \text{ cm}` without its unit, and the units that are known."""
    found = _EXPRESSION_WITH_UNIT.fullmatch(text)
    words = _words((found["text"] or found["bare"] or "") if found else "")
    if not found or not words or any(_NOT_UNITS.fullmatch(word) for word in words):
        return text, ()
    # A lone letter may be part of the formula, and so may a word that stands bare.
    if not all(_is_unit(word) or (found["text"] and len(word) > 1) for word in words):
        return text, ()
    return found["rest"], _known([word for word in words if word not in _UNIT_PARTS])


def _value(found: re.Match[str]) -> tuple[Fraction, int | None]:
    """Value without the sign, and decimal places. Raises `ZeroDivisionError`, also for what is no mixed number."""
    top = found["top"] or found["top_digit"] or found["over"]
    if top is None:
        decimals = found["decimals"] or ""
        value = Fraction(f"{re.sub('[, ]', '', found['whole'] or '0')}.{decimals or '0'}")
        repeated = found["repeated"] or found["repeated_digit"]
        if repeated is None:
            return value, len(decimals)
        return value + Fraction(int(repeated), 10 ** len(decimals) * (10 ** len(repeated) - 1)), None
    bottom = found["bottom"] or found["bottom_digit"] or found["under"]
    value = Fraction(top.replace(",", "")) / Fraction(bottom.replace(",", ""))
    whole = found["mixed"] or found["and"]
    if whole is not None:
        if not 0 < value < 1:
            raise ZeroDivisionError(f"{whole} and {value} make no mixed number")
        value += int(whole)
    return value, None


def _words(text: str) -> list[str]:
    text = re.sub(r"\^ ?\{?[23]\}?$", "", text.strip().lower())
    text = re.sub(r"\b([ap])\. ?m\b\.?", r"\1m", text)
    return text.replace(".", " ").replace("/", " ").split()


def _is_bare_unit(word: str, apart: bool) -> bool:
    """Few letters are rather variables ("2 xy", "5M"), and so are all that touch the number ("2abc")."""
    name = next(iter(_words(word)), "")
    if len(name) < 3 or not apart:
        return bool(_SHORT_UNITS.fullmatch(name)) and (len(name) > 1 or (apart and word.islower()))
    return name in _UNIT_NAMES or any(vowel in name for vowel in "aeiou")


def _is_unit(word: str) -> bool:
    return bool({word, word.removesuffix("s")} & (_UNIT_NAMES.keys() | _UNIT_PARTS))


def _known(words: list[str]) -> tuple[str, ...]:
    """The units by their one name, or nothing when there is another word among them."""
    names = [_UNIT_NAMES.get(word) or _UNIT_NAMES.get(word.removesuffix("s")) for word in words]
    return tuple(filter(None, names)) if all(names) else ()


def _hundredth(number: Number) -> Number:
    places = None if number.places is None else number.places + 2
    return Number(number.value / 100, places)


def _rounds(decimal: Number, exact: Number) -> bool:
    """Whether `decimal`, of enough places, is the fraction `exact` rounded, or cut off, to that many places."""
    if exact.places is not None or decimal.places is None or decimal.places < ROUNDED_PLACES:
        return False
    scale = 10**decimal.places
    scaled = exact.value * scale
    # A small value has fewer digits than places, too few to tell it from its neighbours.
    return abs(scaled) >= 10 ** (ROUNDED_PLACES - 2) and decimal.value * scale in (round(scaled), int(scaled))
