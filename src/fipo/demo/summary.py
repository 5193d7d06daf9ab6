"""The demo's table and sentences: what its numbers say, and what they cannot say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fipo.demo.evaluate import Evaluation
from fipo.evaluation import Estimate, Response, paired_difference
from fipo.tasks.arithmetic import Problem, grade_arithmetic, moment, parse_response

SHOWN = 2


def show_answers(console: Console, problems: Sequence[Problem], evaluation: Evaluation, *, prefer_aha: bool) -> None:
    """Two responses: those to the first two problems, or one that corrects itself and one that need not."""
    pairs = [(problem, group[0]) for problem, group in zip(problems, evaluation.responses)]
    if prefer_aha:
        turned = [pair for pair in pairs if moment(pair[1].text, pair[0].answer) == "aha"]
        straight = [pair for pair in pairs if parse_response(pair[1].text).num_checks == 0]
        pairs = turned[:1] + straight[:1] + pairs
    for problem, response in pairs[:SHOWN]:
        console.print(_answer(problem, response), soft_wrap=True)


def _answer(problem: Problem, response: Response) -> Text:
    right = grade_arithmetic(response.text, problem.answer)
    verdict = ("right", "green") if right else (f"wrong, it is {problem.answer}", "red")
    return Text.assemble(("  " + problem.prompt, "bold"), " ", response.text, "  ", verdict)


def comparison(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """The differences between the models, and the sentences that these numbers support."""
    trained = [name for name in evaluations if name != "base"]
    statements = []
    differences: dict[str, Any] = {}
    for name in trained:
        gain = paired_difference(evaluations[name].correct, evaluations["base"].correct)
        differences[f"{name} - base"] = asdict(gain)
        statements.append(f"{name.upper()} against base: avg@k {_signed(gain)}. {_learned(gain)}")
    if "fipo" in trained and "dapo" in trained:
        gap = paired_difference(evaluations["fipo"].correct, evaluations["dapo"].correct)
        differences["fipo - dapo"] = asdict(gap)
        statements.append(f"FIPO against DAPO: avg@k {_signed(gap)}. {_verdict(gap)}")
    return {"differences": differences, "statements": statements}


def _learned(gain: Estimate) -> str:
    if gain.low > 0:
        return "It learned."
    return "This run shows no learning beyond the noise of the measurement."


def _verdict(gap: Estimate) -> str:
    """The interval covers problems and samples, not training seeds, so one run never settles the matter."""
    if gap.low <= 0 <= gap.high:
        return "No difference beyond the noise of the measurement."
    better = "FIPO" if gap.low > 0 else "DAPO"
    return (
        f"{better} is ahead in this run, but with one training seed each that says little: on this task, "
        "differences of this size come and go with the seed."
    )


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def print_table(console: Console, summary: Mapping[str, Any]) -> None:
    """The table base / DAPO / FIPO."""
    results: Mapping[str, Mapping[str, Any]] = summary["results"]
    first = next(iter(results.values()))
    title = f"{first['problems']} held-out problems, % with 95 % intervals"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("model", no_wrap=True)
    for heading in ("greedy", f"avg@{first['k']}", "length", "aha", "oops", "f"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, numbers in results.items():
        weight = numbers.get("influence_weight_mean")
        table.add_row(
            name if name == "base" else name.upper(),
            _percent(numbers["greedy"]),
            _percent(numbers["avg_at_k"]),
            f"{numbers['mean_length']:.1f}",
            f"{numbers['aha']:.1%}",
            f"{numbers['oops']:.1%}",
            "-" if weight is None else f"{weight:.3f}",
        )
    console.print(table)
    console.print(
        "aha: first answer wrong, last right; oops: the reverse; f: mean influence weight",
        style="dim",
    )


def _percent(numbers: Mapping[str, float]) -> str:
    return f"{100 * numbers['value']:.1f} [{100 * numbers['low']:.1f}, {100 * numbers['high']:.1f}]"
