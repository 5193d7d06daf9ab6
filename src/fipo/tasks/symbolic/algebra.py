"""Two expressions in LaTeX, compared by math-verify, with what it takes for equal by mistake sorted out."""

from __future__ import annotations

import contextlib
import functools
import importlib
import re
from types import CodeType
from typing import Any

import sympy  # type: ignore[import-untyped]
from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy.parsing import sympy_parser  # type: ignore[import-untyped]
from sympy.polys.monomials import MonomialOps  # type: ignore[import-untyped]

# What math-verify and sympy import only when an expression calls for it.
_LAZY_MODULES = (
    "antlr4.LL1Analyzer",
    "sympy.assumptions.wrapper",
    "sympy.combinatorics.permutations",
    "sympy.concrete.delta",
    "sympy.concrete.gosper",
    "sympy.integrals.heurisch",
    "sympy.integrals.manualintegrate",
    "sympy.integrals.meijerint",
    "sympy.integrals.risch",
    "sympy.physics.units",
    "sympy.sets.setexpr",
)
# Read before the sandbox is shut, to fill the tables of the parser.
_WARM_UP = (
    (r"\frac{1}{2}", "0.5"),
    (r"(x+1)(x-1)", "x^2 - 1"),
    (r"\{1, 2\}", r"\{1, 3\}"),
    (r"(-\infty, 2) \cup [3, 4)", r"(-\infty, 2)\cup[3,4)"),
    (r"2 \sqrt{3}", r"\sqrt{12}"),
    (r"\begin{pmatrix} 1 \\ 2.5 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 5/2 \end{pmatrix}"),
    (r"x = 3", "4"),
)
# Candidate, reference, verdict.
_SELF_TEST = (
    (r"\frac{x}{4} + 1.5", r"\frac{x + 6}{4}", "equal"),
    (r"(7, 8)", r"(7, 9)", "different"),
    (r"y^3 - 1", r"(y - 1)(y^2 + y + 1)", "equal"),
)
_NUMERAL = re.compile(r"\d{1,1000}", re.ASCII)
_DECIMAL = re.compile(r"(?:\d{1,1000}\.\d{0,1000}|\.\d{1,1000}|\d{1,1000}(?=E))(?:E[+-]?\d{1,4})?", re.ASCII)
# Not the units of math-verify: among them are the last letters of "\\pi r^2 h" and "-16t^2 + 64t".
_RULES = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all")
# LaTeX alone: its grammar builds expressions, whereas the plain-expression reader hands text to eval.
_READER = [LatexExtractionConfig(normalization_config=_RULES)]
_LETTER = re.compile(r"\\(?:begin|end|text\w*|mbox|mathrm|operatorname)\s*\{[^{}]*\}|\\[a-zA-Z]+|[a-zA-Z]")
_STAND_INS = (r"\xi", r"\zeta", r"\eta", r"\kappa", r"\nu", r"\tau", r"\chi", r"\psi", r"\upsilon", r"\iota")


def prepare() -> None:
    """Load what comparisons import only when an expression calls for it, and fill the tables of the parser."""
    for name in _LAZY_MODULES:
        # A version without one of them does without it, or imports it at run time.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _read_numerals_without_eval()
    for candidate, reference in _WARM_UP:
        verdict(candidate, reference)


def self_test() -> str:
    """What goes wrong with the installed versions of math-verify and sympy; empty if nothing does."""
    for candidate, reference, expected in _SELF_TEST:
        found = verdict(candidate, reference)
        if found != expected:
            return f"{candidate} and {reference} are {found}, not {expected}"
    return ""


def generators() -> frozenset[CodeType]:
    """The functions of sympy that compile text of their own: of a polynomial's number of variables, nothing else."""
    build = getattr(MonomialOps, "_build", None)
    return frozenset({build.__code__} if build else ())


def verdict(candidate: str, reference: str) -> str:
    """`equal`, `different` or `unreadable` (candidate)."""
    reference, candidate = _cases_apart(reference, candidate)
    gold, target = _read(reference), _read(candidate)
    left, right = (next((part for part in parts if not isinstance(part, str)), None) for parts in (gold, target))
    equal = verify(gold, target, allow_set_relation_comp=True, timeout_seconds=None)
    if left is None or right is None:
        return "equal" if equal else "unreadable" if right is None else "different"
    if not equal and (other := _complex(left, right)):
        equal = verify(*other, allow_set_relation_comp=True, timeout_seconds=None)
    agreed = equal and _answers(left, right) and _close(left, right)
    # A set forgets how often it was given an element: "1, 1" is not "1".
    if agreed and r"\{" not in reference + candidate:
        agreed = _elements(left) == _elements(right) or None in (_elements(left), _elements(right))
    return "equal" if agreed else "different"


@functools.lru_cache(maxsize=2048)
def _read(text: str) -> list[Any]:
    """The expression, if it can be read, and its text."""
    return list(parse(f"${text}$", extraction_config=_READER, parsing_timeout=None))


def _read_numerals_without_eval() -> None:
    """sympy reads a string, even the digits of a number, by eval: let it read numerals directly, ten times as fast.

    All other strings go on to the parser that ends in eval, which the sandbox then refuses.
    """
    original = sympy_parser.parse_expr

    def parse_expr(text: Any, *args: Any, **kwargs: Any) -> Any:
        numeral = text.strip() if isinstance(text, str) else ""
        if _NUMERAL.fullmatch(numeral):
            return sympy.Integer(int(numeral))
        if _DECIMAL.fullmatch(numeral):
            return sympy.Float(numeral)
        return original(text, *args, **kwargs)

    sympy_parser.parse_expr = parse_expr


def _cases_apart(*texts: str) -> tuple[str, ...]:
    """math-verify ignores the case of letters; where one text has both R and r, another letter stands for R."""
    clashing: set[str] = set()
    used: set[str] = set()
    for text in texts:
        letters = set(_LETTER.findall(text))
        used |= letters
        clashing |= {letter for letter in letters if letter != letter.lower() and letter.lower() in letters}
    if not clashing:
        return texts
    free = (f"{name} " for name in _STAND_INS if name not in used)
    names = dict(zip(sorted(clashing), free))
    return tuple(_LETTER.sub(lambda found: names.get(found[0], found[0]), text) for text in texts)


def _complex(left: Any, right: Any) -> tuple[Any, Any] | None:
    """Both with i as the imaginary unit, and one symbol a name: the reader takes "4i" for real, "4 i" for complex."""
    symbols = left.free_symbols | right.free_symbols
    names = {symbol.name for symbol in symbols}
    if "i" not in names and len(names) == len(symbols):
        return None
    plain = {symbol: sympy.I if symbol.name == "i" else sympy.Symbol(symbol.name) for symbol in symbols}
    return left.xreplace(plain), right.xreplace(plain)


def _answers(gold: Any, target: Any) -> bool:
    """Not so for "2" where an equation such as x + y = 2 is asked for, which math-verify cuts down to its 2."""
    equation = isinstance(gold, sympy.Eq) and isinstance(gold.lhs, sympy.Add)
    return not equation or isinstance(target, (sympy.core.relational.Relational, sympy.And))


def _elements(part: Any) -> int | None:
    """How many elements a list was written with; 1 for a lone expression, `None` for other sets and relations."""
    if isinstance(part, sympy.FiniteSet):
        return len(getattr(part, "_unsorted_args", part.args))
    return 1 if isinstance(part, sympy.Expr) else None


def _close(left: Any, right: Any) -> bool:
    """Whether two constants agree in relative terms: math-verify takes all of 1e-20 and 1e-30 for zero."""
    if isinstance(left, sympy.Eq) != isinstance(right, sympy.Eq):
        left, right = (part.rhs if isinstance(part, sympy.Eq) else part for part in (left, right))
    parts = [getattr(part, "args", ()) for part in (left, right) if isinstance(part, (sympy.Tuple, sympy.Interval))]
    if len(parts) == 2 and len(parts[0]) == len(parts[1]):
        return all(map(_close, *parts))
    if not (isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr)) or left.free_symbols | right.free_symbols:
        return True
    left, right = left.doit(), right.doit()
    if left == right:
        return True
    values = [sympy.Abs(part).evalf(30) for part in (left, right, left - right)]
    if not all(value.is_Number and value.is_finite for value in values):
        return True
    tolerance = 2e-5 if left.has(sympy.Float) or right.has(sympy.Float) else 1e-12
    return bool(values[2] <= tolerance * max(values[:2])) or bool(sympy.simplify(left - right) == 0)
