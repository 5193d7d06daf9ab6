"""One spelling of an answer: spaces, symbols, fonts, fractions and thousands as the comparison expects them."""

from __future__ import annotations

import re
from collections.abc import Callable

from fipo.tasks.extraction import strip_markup

MAX_EXPRESSION = 500
"""Longer answers are compared as text alone."""

_SYMBOLS = str.maketrans(
    {"−": "-", "–": "-", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "×": r"\times ", "·": r"\cdot "}
    | {"÷": "/", "°": r"^\circ", "∪": r"\cup ", "∅": r"\emptyset ", "，": ",", "％": "%", "′": "'", "’": "'"}
    | {"\u00a0": " ", "\u202f": " ", "\u2009": " "}
    | {"½": r"\frac12 ", "⅓": r"\frac13 ", "⅔": r"\frac23 ", "¼": r"\frac14 ", "¾": r"\frac34 ", "⅕": r"\frac15 "}
    | {"⅖": r"\frac25 ", "⅗": r"\frac35 ", "⅘": r"\frac45 ", "⅙": r"\frac16 ", "⅚": r"\frac56 ", "⅛": r"\frac18 "}
    | {"⅜": r"\frac38 ", "⅝": r"\frac58 ", "⅞": r"\frac78 "}
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_REWRITES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda found: f"^{{{found.group().translate(_SUPERSCRIPTS)}}}"),
        (r"√(\d+|[a-zA-Z])", r"\\sqrt{\1}"),
        (r"√\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"∛(\d+|[a-zA-Z])", r"\\sqrt[3]{\1}"),
        (r"\\?\$", ""),
        (r",?\\!\s*", lambda found: "," if found.group()[0] == "," else ""),
        (r"\{([,:])\}", r"\1"),
        (r"(?<=\d)'(?=\d{3}(?!\d))", ","),
        (r"(?<!\\)\\[ ,;:]|~", " "),
        (r"(?<!\\)\\[()\[\]]", " "),
        (r"\\(?:left|right)(?![a-zA-Z])", ""),
        (r"\\(?:(?:display|text|script)style|q?quad|[lL]arge|LARGE|[hH]uge|small|bf|rm|it|sf|tt)(?![a-zA-Z])", " "),
        (r"\\math(?:bf|rm|it|sf|tt) *(?=[\d-])", ""),
        (r"\\varnothing(?![a-zA-Z])", r"\\emptyset"),
        (r"(?<=\d) ?\\deg(?:ree)?(?![a-zA-Z])", r"^\\circ"),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"(?<![\\a-zA-Z])(pi|sin|cos|tan|cot|log|ln)(?![a-zA-Z])", r"\\\1"),
        # From left to right, as everyone means it: otherwise the parser takes "1/2x" for 1/(2x).
        (r"(?<![\w.,)}\]/^])(\d+)/(\d+)(?= ?(?:[a-zA-Z(]|\\(?:pi|sqrt|frac|theta|alpha|ln|log)))", r"\\frac{\1}{\2}"),
        (r"\((\d+)\) ?_", r"\1_"),
        (r"\*\*", "^"),
        (r"(?<!\\)\\$", ""),
        (r"\s+", " "),
        (r"^ ?(?:=|≈|\\approx(?![a-zA-Z])) ?", ""),
    )
]
_FONT = re.compile(
    r"(?:\\(?:text|textbf|textit|textrm|textsf|texttt|math(?:rm|bf|it|sf|tt)|mbox|boldsymbol|bm|underline|boxed|fbox))?"
    r" ?\{(.*)\}"
)
_BRACE = re.compile(r"\\.|[{}]")
_LONE_IN_PARENTHESES = re.compile(r"\(\s*([A-Za-z]|[-+]?\d+)\s*\)")


def canonical(text: str) -> str:
    """`text` in the form that is compared: one spelling of spaces, symbols, fractions and thousands, no wrappers."""
    text = strip_markup(text)
    # Most answers are plain integers, to which none of the rules applies.
    if len(text) > MAX_EXPRESSION or text.isdecimal():
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


def _balanced(content: str) -> bool:
    """Whether the braces of `content` pair among themselves, so that the pair around it belongs together."""
    depth = 0
    for token in _BRACE.findall(content):
        depth += (token == "{") - (token == "}")
        if depth < 0:
            return False
    return depth == 0
