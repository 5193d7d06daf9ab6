"""The comparison itself, through a helper: texts as the parent sends them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fipo.tasks.isolation import pool
from fipo.tasks.symbolic import sandbox

FOLDER = str(Path(sandbox.__file__).parent)


def compare(candidate: str, reference: str) -> str:
    return pool.compare(candidate, reference, 20)


@pytest.mark.parametrize(
    ("candidate", "reference"),
    [
        ("x + x", "2x"),
        (r"\frac{5 \%}{2}", r"\frac{5\%}{2}"),
        ("1.5E3 x", "1500x"),
        ("3 + 4 i", "3+4i"),
        (r"e^{i\pi} + 1", "0"),
        (r"\frac{1+i}{2}", "0.5+0.5i"),
        ("R^2 - r^2", "(R-r)(R+r)"),
        (r"\Delta - \delta", r"-\delta + \Delta"),
        (r"\begin{pmatrix} R & r \end{pmatrix}", r"\begin{bmatrix} R & r \end{bmatrix}"),
        ("0.333333x", "0.333333x + 0"),
        (r"\int_0^1 x^2 dx", r"\frac{1}{3}"),
        (r"\sum_{i=1}^{10} i", "55"),
        (r"\sin(\pi)", "0"),
        (r"x^6 - y^6 + z - z", "(x^3-y^3)(x^3+y^3)"),
        (r"\{1, 1, 2\}", r"\{1, 2\}"),
        ("1, 1", "1, 1"),
        ("y = x + 2", "x + 2"),
        ("2 - x = y", "x + y = 2"),
        ("10^{-400}", r"\frac{1}{10^{400}}"),
    ],
)
def test_equal(candidate: str, reference: str) -> None:
    assert compare(candidate, reference) == "equal"


@pytest.mark.parametrize(
    ("candidate", "reference"),
    [
        # What math-verify alone takes for equal.
        ("10^{-20}", "10^{-30}"),
        ("10^{-400}", "10^{-500}"),
        (r"\frac{1}{3^{100}}", r"\frac{1}{2^{100}}"),
        ("0.0000001", r"\frac{1}{5000000}"),
        ("(10^{-20}, 1)", "(10^{-30}, 1)"),
        ("[0, 10^{-20}]", "[0, 10^{-30}]"),
        ("R - r", "0"),
        (r"\frac{R}{r}", "1"),
        ("A + a", "2a"),
        (r"\Omega - \omega", "0"),
        ("5c", "5"),
        (r"\pi r^2 h", r"\pi r^2"),
        ("-16t^2 + 64t", "-16t^2 + 64"),
        (r"\frac{1}{2}ab", r"\frac{1}{2}"),
        ("1, 1", "1"),
        ("1, 2, 2", "1, 2"),
        ("2", "x + y = 2"),
        # What it tells apart by itself.
        ("3 + 4i", "3 - 4i"),
        ("(2, 1)", "(1, 2)"),
        ("x^2", "x^3"),
    ],
)
def test_different(candidate: str, reference: str) -> None:
    assert compare(candidate, reference) == "different"


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "exec(\"open('pwned', 'w')\")",
        r"\text{__import__('os').abort()}",
        r"\operatorname{__import__}('os')",
        r"\variable{__import__('os').abort()}",
        r"\input{/etc/passwd}",
        r"\write18{touch pwned}",
        "lambda x: x",
        "[x for x in (1).__class__.__bases__]",
        "{" * 300,
    ],
)
def test_no_text_is_run(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = pool.pids
    assert compare(text, "x + 1") in ("different", "unreadable")
    assert set(before) <= set(pool.pids), "the helper died"
    assert list(tmp_path.iterdir()) == []


def test_strings_never_reach_eval_inside_the_sandbox() -> None:
    pytest.importorskip("math_verify", reason="needs the extra [eval]")
    code = (
        f"import sys; sys.path.insert(0, {FOLDER!r})\n"
        "import algebra, sympy; from sandbox import Refused, Sandbox\n"
        "algebra.prepare(); box = Sandbox(algebra.generators()); box.install()\n"
        "assert algebra.self_test() == '', algebra.self_test()\n"
        # Numerals are read, polynomials are simplified, all else that would be evaluated is refused.
        "assert [sympy.Number(text) for text in ('12', ' 12 ', '007')] == [12, 12, 7]\n"
        "assert sympy.Number('18.90') == sympy.Float('18.90') and sympy.Number('1E3') == sympy.Float(1000)\n"
        "assert sympy.factor(sympy.Symbol('x')**2 - 1).is_Mul and box.refusals == []\n"
        "for text in ('x + 1', '1 + 1', '1' * 2000, '1e3', 'S.One', '__import__(\"os\").getpid()'):\n"
        "    try: sympy.sympify(text)\n"
        "    except Refused: continue\n"
        "    raise AssertionError(text)\n"
        "assert box.refusals == ['compile'] * 6, box.refusals\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
