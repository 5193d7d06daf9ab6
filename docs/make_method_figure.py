"""Draws docs/images/method.svg with the package itself: python docs/make_method_figure.py."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.figure import Figure

from fipo import future_kl, influence_weights

OUT = Path(__file__).parent / "images" / "method.svg"
HALF_LIFE = 8.0
LOW, HIGH = 0.2, 0.2


def main() -> None:
    """One response of 48 tokens: most barely move, two short spans do."""
    torch.manual_seed(4)
    shift = 0.004 * torch.randn(1, 48)
    shift[0, 14:19] += torch.tensor([0.03, 0.09, 0.06, 0.04, 0.02])
    shift[0, 34:38] -= torch.tensor([0.05, 0.14, 0.08, 0.03])
    mask = torch.ones_like(shift)
    future = future_kl(shift, mask, half_life=HALF_LIFE)
    weights = influence_weights(future, shift.exp(), mask, clip_low=LOW, clip_high=HIGH)

    figure = Figure(figsize=(9, 4.6), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    tokens = range(shift.shape[1])
    colors = ["#009E73" if value > 0 else "#D55E00" for value in shift[0].tolist()]
    top.bar(tokens, shift[0].tolist(), color=colors, width=0.8)
    top.set_title("1. what the update did to each token:  Δ = log π − log π_old", fontsize=10, loc="left")
    middle.plot(tokens, future[0].tolist(), color="#0072B2", marker=".", markersize=4)
    middle.axhline(0, color="0.6", linewidth=0.8)
    title = f"2. discounted sum of what follows:  FutureKL = Σ γ^(k−t) Δ_k,  half-life τ = {HALF_LIFE:.0f} tokens here"
    middle.set_title(title, fontsize=10, loc="left")
    bottom.axhspan(1 - LOW, 1 + HIGH, color="#56B4E9", alpha=0.15)
    bottom.axhline(1, color="0.6", linewidth=0.8)
    bottom.plot(tokens, future.exp()[0].tolist(), color="0.6", linestyle=":", label="exp(FutureKL)")
    bottom.step(tokens, weights[0].tolist(), color="#0072B2", where="mid", label="weight f")
    bottom.set_title("3. weight of each token's advantage:  f = clip(exp(FutureKL))", fontsize=10, loc="left")
    bottom.set_xlabel("token position in the response", fontsize=9)
    bottom.legend(frameon=False, fontsize=8, loc="lower left", ncols=2)
    for axis in (top, middle, bottom):
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    figure.savefig(OUT, metadata={"Date": None})
    print(OUT.relative_to(Path.cwd()) if OUT.is_relative_to(Path.cwd()) else OUT)


if __name__ == "__main__":
    main()
