"""Training curves of one or several runs as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Okabe-Ito colours: told apart by readers who do not see red and green as different.
COLORS = {"dapo": "#0072B2", "fipo": "#D55E00", "grpo": "#009E73"}
PANELS = (
    ("reward/accuracy", "accuracy of sampled responses", (0.0, 1.0)),
    ("response_length/mean", "mean response length (tokens)", None),
    ("actor/influence_weights_mean", "mean influence weight f", None),
    ("actor/entropy", "entropy (nats per token)", None),
    ("actor/ppo_kl", "policy KL (old - new log-prob)", None),
    ("actor/grad_norm", "gradient norm", None),
)


def draw_curves(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], out: str | Path, *, title: str, note: str = ""
) -> list[Path]:
    """Draw six panels against the rollout step and write `out` as PNG and SVG.

    Args:
        runs: rows of `metrics.jsonl` by the name of the run.
        out: path without suffix.
        title: over the panels.
        note: under them.

    Returns:
        The files written. Missing and non-finite values leave gaps.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.2), layout="constrained")
    axes = figure.subplots(2, 3)
    for axis, (key, label, limits) in zip(axes.flat, PANELS):
        for name, rows in runs.items():
            steps = [row["step"] for row in rows]
            values = [_number(row.get(key)) for row in rows]
            axis.plot(
                steps, values, label=name.upper(), color=COLORS.get(name), linewidth=1.8, marker=".", markersize=4
            )
        axis.set_title(label, fontsize=10, loc="left")
        axis.set_xlabel("rollout step", fontsize=9)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        if limits:
            axis.set_ylim(*limits)
        if key == "actor/influence_weights_mean":
            axis.axhline(1.0, color="0.6", linewidth=0.8, linestyle=":")
    if runs:
        axes.flat[0].legend(frameon=False, fontsize=9, loc="lower right")
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    if note:
        figure.supxlabel(note, fontsize=8, color="0.35", x=0.01, ha="left")
    files = [Path(f"{out}.png"), Path(f"{out}.svg")]
    for file in files:
        figure.savefig(file, dpi=140)
    return files


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")
