from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fipo.tasks.notation import canonical
from fipo.tasks.numerals import changes_number, read_number, same_number, without_unit


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42),
        ("042", 42),
        ("-5", -5),
        ("- 5", -5),
        ("+5", 5),
        ("−5", -5),
        ("-0", 0),
        ("18.", 18),
        (".5", "1/2"),
        ("0.50", "1/2"),
        ("1,234,567.5", "2469135/2"),
        ("1 234 567", 1234567),
        (r"1{,}234", 1234),
        (r"10\,080", 10080),
        (r"11,\! 111,\! 111,\! 100", 11111111100),
        ("$5", 5),
        (r"\$1,234.50", "2469/2"),
        ("-$5", -5),
        ("€7", 7),
        ("€-7", -7),
        ("7 €", 7),
        ("USD 5", 5),
        ("US$5", 5),
        ("Rs. 500", 500),
        (r"\pounds 5", 5),
        (r"\frac{1}{2}", "1/2"),
        (r"\frac12", "1/2"),
        (r"\frac 1 2", "1/2"),
        (r"\dfrac{-1}{2}", "-1/2"),
        (r"-\tfrac{1}{2}", "-1/2"),
        (r"\frac{1}{-2}", "-1/2"),
        (r"\frac{1,000}{3}", "1000/3"),
        (r"\frac{1.5}{2}", "3/4"),
        ("3/4", "3/4"),
        ("-3/4", "-3/4"),
        ("1,000/3", "1000/3"),
        (r"1\frac{1}{2}", "3/2"),
        (r"-1\frac12", "-3/2"),
        ("1 1/2", "3/2"),
        ("2½", "5/2"),
        ("¾", "3/4"),
        (r"0.\overline{3}", "1/3"),
        (r"0.\bar{3}", "1/3"),
        (r"1.2\overline{34}", "611/495"),
        ("5 million", 5_000_000),
        (r"2.5 \text{ million dollars}", 2_500_000),
        ("5 hundred", 500),
        ("18 apples per day", 18),
        ("5cm", 5),
        ("5 km/h", 5),
        ("5 m/s^2", 5),
        (r"15\mbox{ cm}^2", 15),
        (r"5\ \mathrm{cm^2}", 5),
        ("3/4 cup", "3/4"),
        ("90°", 90),
        (r"90^\circ", 90),
        (r"30^{\circ}\text{C}", 30),
        ("30°C", 30),
        (r"30\degree", 30),
        (r"\mathbf{73}", 73),
        (r"\mathbf 73", 73),
        (r"{\bf 73}", 73),
        (r"\boldsymbol{73}", 73),
        ("(73)", 73),
        ("５", 5),
        ("٤٢", 42),
        ("𝟒𝟐", 42),
    ],
)
def test_plain_numbers(text: str, value: int | str) -> None:
    number = read_number(canonical(text))
    assert number is not None
    assert number.value == Fraction(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "5x",
        "2 xy",
        "2 xyz",
        "2abc",
        "5c",
        "5M",
        "5 M",
        "1,2",
        "12,34",
        "1,23",
        "1.2.3",
        "1e3",
        "0x10",
        "2^10",
        "5!",
        "5-",
        "--5",
        "1/0",
        r"\frac{1}{0}",
        "1/2/3",
        "1 234/5",
        r"1\frac{5}{2}",
        r"\frac123",
        "5 or 6",
        "5 dozen",
        r"5\text{ dozen}",
        r"5\text{ or more}",
        r"5\text{ pi}",
        "5%5",
        "\u00b2",
        "1" * 501,
    ],
)
def test_no_plain_numbers(text: str) -> None:
    assert read_number(canonical(text)) is None


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("50%", "50"),
        ("50%", "0.5"),
        (r"50\%", r"\frac{1}{2}"),
        ("50 percent", "50%"),
        ("33.333333%", "1/3"),
        ("52_8", "52_{8}"),
        (r"52_{\text{eight}}", "52_8"),
        ("52", "52_8"),
        ("5 feet", "5 ft"),
        ("5 metres", "5 m"),
        ("5 m", "5"),
        ("5 apples", "5 oranges"),
        ("5 p.m.", r"5\text{ PM}"),
        ("0.333333", "1/3"),
        ("0.666667", "2/3"),
        ("0.666666", "2/3"),
        ("0.33333333", "1/3"),
        ("123.456789", r"\frac{123456789}{1000000}"),
    ],
)
def test_the_same_number(left: str, right: str) -> None:
    one, other = read_number(canonical(left)), read_number(canonical(right))
    assert one is not None
    assert other is not None
    assert same_number(one, other)
    assert same_number(other, one)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("50%", "5"),
        ("5%", "0.5"),
        ("200%", "20"),
        ("5%", r"5^\circ"),
        ("5%", "5 dollars"),
        ("52_8", "52_9"),
        ("5 km", "5 m"),
        ("5 cm", "5 in"),
        ("5 dollars", "5 cents"),
        ("5 hours", "5 minutes"),
        ("5 a.m.", "5 p.m."),
        ("5 km/h", "5 m/s"),
        ("0.33333", "1/3"),
        ("0.333334", "1/3"),
        ("0.666665", "2/3"),
        ("0.0000001", r"\frac{1}{5000000}"),
        ("0.000001", r"\frac{1}{900000}"),
        ("0.333333", "0.3333333"),
        ("1000000.1", "1000000.1000001"),
    ],
)
def test_not_the_same_number(left: str, right: str) -> None:
    one, other = read_number(canonical(left)), read_number(canonical(right))
    assert one is not None
    assert other is not None
    assert not same_number(one, other)
    assert not same_number(other, one)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**15), st.integers(1, 10**15))
def test_numbers_survive_their_spellings(whole: int, top: int, bottom: int) -> None:
    for text in (f"{whole}", f"{whole:,}", f"{whole}.000", f"\\frac{{{whole}}}{{1}}", f"{whole} apples", f"${whole}$"):
        assert read_number(canonical(text)).value == whole
    mixed = Fraction(top, top + bottom)
    text = f"{abs(whole)}\\frac{{{top}}}{{{top + bottom}}}"
    assert read_number(canonical(text)).value == abs(whole) + mixed


@pytest.mark.parametrize(
    ("text", "rest", "units"),
    [
        (r"2\sqrt{3} \text{ cm}", r"2\sqrt{3}", ("cm",)),
        (r"3\pi\text{ square units}", r"3\pi", ()),
        (r"3\pi \text{ cm}^2", r"3\pi", ("cm",)),
        (r"3\pi cubic inches", r"3\pi", ("in",)),
        (r"10\sqrt{2}\text{ miles per hour}", r"10\sqrt{2}", ("mi", "h")),
        (r"2\sqrt{3} apples", r"2\sqrt{3} apples", ()),
        (r"\pi r^2 h", r"\pi r^2 h", ()),
        (r"AB\text{C}", r"AB\text{C}", ()),
        (r"x\text{ or less}", r"x\text{ or less}", ()),
        ("x + in", "x + in", ()),
        ("x", "x", ()),
        ("", "", ()),
    ],
)
def test_the_unit_of_an_expression(text: str, rest: str, units: tuple[str, ...]) -> None:
    assert without_unit(text) == (rest, units)


def test_words_that_change_the_number_before_them() -> None:
    assert all(map(changes_number, [r"2\text{ dozen}", r"5 \text{ or more}", r"3\text{ squared}", r"5\text{ \pi}"]))
    assert not any(map(changes_number, ["5", r"5\text{ cm}", r"x\text{ or }y", r"\text{dozen}"]))
