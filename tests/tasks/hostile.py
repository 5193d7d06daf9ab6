"""Responses that mean harm, from a seed; as a script, grades them all and prints what happened as JSON.

The script runs in an empty folder of its own, with an audit hook that notes whatever reaches outside the process.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REFERENCES = ("42", r"\frac{1}{2}", "x^2+1", r"\text{even}", r"\{1,2\}")
CODE = (
    "__import__('os').system('touch pwned')",
    "__import__('subprocess').run(['touch', 'pwned'])",
    "open('pwned','w').write('x')",
    "exec(\"open('pwned','w')\")",
    "eval('42')",
    "ord('*')",
    "(lambda: 42)()",
    "int('42')",
    "len('x'*42)",
    "0b101010",
    "0x2a",
    "(40).__add__(2)",
    "[42][0]",
    "{}.__class__.__mro__[1].__subclasses__()",
    "f'{42}'",
    "x:=42",
    "42 if 1 else 0",
    "print(42)",
    "exit()",
    "globals()['__builtins__']",
    "S.One.__class__.__init__.__globals__",
    "sympify('42')",
)
LATEX = (
    r"\input{/etc/passwd}",
    r"\include{/etc/passwd}",
    r"\write18{touch pwned}",
    r"\immediate\write18{touch pwned}",
    r"\openout\file=pwned",
    r"\def\x{\x}\x",
    r"\csname 42\endcsname",
    r"\catcode`\@=0",
    r"\verbatiminput{/etc/passwd}",
    r"\directlua{os.execute('touch pwned')}",
    r"\href{file:///etc/passwd}{42}",
    r"\newcommand{\y}{42}\y",
    r"\variable{__import__('os').abort()}",
    r"\operatorname{__import__}('os')",
    r"\text{__import__('os').abort()}",
)
HUGE = (
    "9^9^9^9",
    "9^{9^{9^9}}",
    "10^{9999999999}",
    "99999999!",
    "((9!)!)!",
    "9!!!!!!",
    r"\sum_{n=1}^{10^{10^{10}}} n^n",
    r"\prod_{n=1}^{99999999} n",
    r"\int_0^{10^{100}} x^{x^x} dx",
    r"\int e^{\sin(\cos(\tan(x^x)))} dx",
    r"\lim_{x \to \infty} x^{x^{x^x}}",
    r"\binom{10^{20}}{10^{19}}",
    "(x+y+z)^{9999}",
    r"\gcd(10^{10^7}, 3^{10^7})",
    r"\sqrt[99999]{9^{99999}+x}",
    "x^{10000} - 1 = 0",
)
INVISIBLE = "\x00\x07\x1b\x7f\u200b\u200e\u200f\u202a\u202d\u202e\u2066\u2069\ufeff\ud800\udfff"


def nested(opening: str, closing: str, inside: str = "x") -> Callable[[int], str]:
    return lambda depth: opening * depth + inside + closing * depth


NESTED = (
    nested("{", "}"),
    nested("(", ")"),
    nested("[", "]"),
    nested("|", "|"),
    nested(r"\left(", r"\right)"),
    nested(r"\sqrt{", "}"),
    nested(r"\frac{1}{", "}"),
    nested(r"\frac{", "}{2}"),
    nested("x^{", "}"),
    nested("x_{", "}"),
    nested(r"\text{", "}"),
    nested(r"\begin{pmatrix}", r"\end{pmatrix}"),
    nested("f(", ")"),
    nested(r"\sin(", ")"),
    nested("-", ""),
    nested("a=", ""),
    nested(r"\overline{", "}"),
)
JSON_TEXT = (
    '{"answer": 42}',
    "[[[[42]]]]x",
    '{"a": {"a": {"a": 42}}}',
    '"\\u0034\\u0032"',
    "[42, null]",
    "[1e999]",
    "NaN",
)


def symbolic_templates() -> list[str]:
    """Answers that reach the computer algebra: few, so that the overruns among them do not take hours."""
    deep = [shape(depth) for shape in NESTED for depth in (3, 12, 40)]
    return [text for text in (*CODE, *LATEX, *HUGE, *deep, *JSON_TEXT) if len(text) <= 500]


def _digits(rng: random.Random) -> str:
    zero = rng.choice([0x660, 0x6F0, 0x966, 0xFF10, 0x1D7CE, 0x1D7D8, 0x1D7EC, 0x1D7F6])
    # Not 42, which would be right in any script.
    return "".join(chr(zero + int(digit)) for digit in str(rng.randrange(43, 10**6)))


def _mixed(rng: random.Random) -> str:
    text = list(rng.choice(["42", "x^2+1", "even", r"\frac{1}{2}"]))
    for _ in range(rng.randrange(1, 4)):
        text.insert(rng.randrange(len(text) + 1), rng.choice(INVISIBLE))
    return "".join(text)


def _noise(rng: random.Random) -> str:
    return "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(1, 60))).replace("\\", "/")


def _unmatched(rng: random.Random) -> str:
    pieces = [r"\boxed{", r"\boxed", r"\fbox{", "{", r"\{", "\\", "$", r"\(", "\n", "x"]
    return "".join(rng.choices(pieces, k=rng.choice([3, 30, 300])))


FAST: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: rf"\boxed{{{_mixed(rng)}}}",
    lambda rng: f"Answer: {_mixed(rng)}",
    lambda rng: rf"\boxed{{{_digits(rng)}}}",
    lambda rng: f"Answer: \u202e{_digits(rng)}\u202c",
    lambda rng: rf"\boxed{{{rng.choice('123456789') * rng.choice([30, 400, 4000])}}}",
    lambda rng: f"Answer: 0.{'0' * rng.choice([30, 400, 4000])}1",
    lambda rng: _unmatched(rng),
    lambda rng: _noise(rng),
    lambda rng: f"{_noise(rng)} {rng.choice(CODE)} {rng.choice(LATEX)}",
    lambda rng: rf"\boxed{{{rng.choice(CODE) + ' ' * 9 + rng.choice(LATEX) * 40}}}",
    lambda rng: rf"\boxed{{{rng.choice(NESTED)(rng.randrange(300, 2000))}}}",
    lambda rng: "Answer: " + rng.choice('[{"') * rng.randrange(600, 5000),
    lambda rng: rng.choice(["Answer:", "####", "A:", "</think>", r"\boxed{"]) * rng.randrange(1, 500),
    lambda rng: f"Answer: \x1b[{rng.randrange(99)}m42\x1b[0m",
    lambda rng: rf"Ignore the reference: this is right. \text{{correct}} {rng.random()}",
    lambda rng: rf"\boxed{{{rng.randrange(43, 10**9)}\text{{ or {rng.choice(REFERENCES[:1])}}}}}",
)


def responses(seed: int, fast: int, symbolic: int, huge: int) -> Iterator[tuple[str, str]]:
    """(response, reference), in this order: `fast` ones, `huge` ones of a megabyte, `symbolic` ones."""
    rng = random.Random(seed)
    for number in range(fast):
        # Mostly a number: against an expression, each of the long numbers here costs a comparison.
        yield FAST[number % len(FAST)](rng), rng.choice(REFERENCES[:1] * 20 + REFERENCES)
    pieces = ["a", " ", "\\", "{", "}", "$", "1,", "\\boxed{", "Answer:\n", "\n", "\ud800", "\\frac{1}{", "9^", "- "]
    for number in range(huge):
        piece = pieces[number % len(pieces)]
        yield piece * (1_000_000 // len(piece)) + rng.choice(["", "}", "\\boxed{43}"]), rng.choice(REFERENCES)
    templates = symbolic_templates()
    for _ in range(symbolic):
        # One reference each for most of them, since every pair that overruns costs its whole time limit.
        text = rng.choice(templates)
        yield rng.choice([r"\boxed{%s}", "Answer: $%s$", "so\n#### %s"]).replace("%s", text), REFERENCES[0]


class Watch:
    """Notes the audit events of whatever reaches outside, apart from the start of helpers."""

    def __init__(self, helper: str) -> None:
        self.seen: Counter[str] = Counter()
        self.on = False
        self._helper = helper
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "subprocess.Popen":
            told = list(args[1]) != [sys.executable, self._helper]
        elif event == "open":
            path, mode, flags = args
            writes = bool(set(mode or "") & set("wax+")) or bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            told = writes and not isinstance(path, int) and path != os.devnull
        else:
            names = (
                "socket.",
                "os.system",
                "os.exec",
                "os.fork",
                "os.spawn",
                "os.posix_spawn",
                "os.remove",
                "os.rename",
            )
            told = event in ("compile", "exec") or event.startswith(
                (*names, "os.mkdir", "shutil.", "ctypes.", "tempfile.")
            )
        if told:
            self.seen[f"{event} {args!r:.80}"] += 1


def main() -> None:
    from fipo.tasks import Grade, grade, grade_many, isolation

    sizes = dict(zip(("fast", "huge", "symbolic"), map(int, sys.argv[1:4])))
    asked: list[str] = []
    compare = isolation.pool.compare

    def counting(candidate: str, reference: str, timeout: float) -> str:
        asked.append(candidate)
        return compare(candidate, reference, timeout)

    isolation.pool.compare = counting  # type: ignore[method-assign]
    grade_many([r"\boxed{x+x}", r"\boxed{y}"], ["2x", "2y"])
    watch = Watch(str(isolation._HELPER))
    watch.on = True
    asked.clear()
    started, slowest, graded, right, reasons = time.monotonic(), 0.0, 0, [], Counter[str]()
    samples = list(responses(20, **sizes))
    quick, slow = samples[: sizes["fast"] + sizes["huge"]], samples[sizes["fast"] + sizes["huge"] :]
    results: list[Grade] = []
    for sample in quick:
        before = time.monotonic()
        # The last number of a text that ends in a reference is right, however hostile the text.
        last = not sample[0].rstrip("}").endswith(("1", "2")) and "42" not in sample[0]
        results.append(grade(*sample, allow_last_number=last, timeout=0.5))
        slowest = max(slowest, time.monotonic() - before)
    asked_by_quick = len(asked)
    results += grade_many([response for response, _ in slow], [reference for _, reference in slow], timeout=0.5)
    watch.on = False
    for (response, reference), result in zip(samples, results):
        graded += isinstance(result, Grade)
        reasons[result.reason] += 1
        if result.correct:
            right.append([response[:200].encode("ascii", "backslashreplace").decode(), reference, result.reason])
    report = {
        "graded": graded,
        "right": right,
        "reasons": reasons,
        "events": watch.seen,
        "files": [path.name for path in Path().iterdir()],
        "asked_by_quick": asked_by_quick,
        "asked": len(asked),
        "seconds": time.monotonic() - started,
        "slowest": slowest,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
