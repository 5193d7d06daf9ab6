"""What a rollout step reports: names, and how micro-batches, updates and processes become one number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

# Kept from TRL under its own names; everything else in the log has this project's names.
TRL_PREFIXES = ("sampling/", "tools/", "rewards/", "profiling/", "aux_loss")
# Metrics over the tokens of one sign of the advantage.
SIGNED = {"actor/neg_is_": "negative", "actor/pos_is_": "positive"}
QUARTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}


class MetricWindow:
    """Collects scalars over the updates of one rollout and over processes.

    `mean` values carry a weight (the number of tokens behind them); a maximum stays a maximum and a minimum a
    minimum. Nothing is read back to the host before `collect`.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}
        self._maxima: dict[str, Tensor] = {}
        self._minima: dict[str, Tensor] = {}

    def __bool__(self) -> bool:
        return bool(self._sums)

    def mean(self, name: str, value: Tensor | float, weight: Tensor | float = 1.0) -> None:
        """Add to a weighted mean; a weight of 0 adds nothing."""
        value = _scalar(value)
        weight = _scalar(weight).to(value.device)
        product = torch.where(weight > 0, value * weight, 0.0)
        self._sums[name] = self._sums[name] + product if name in self._sums else product
        self._weights[name] = self._weights[name] + weight if name in self._weights else weight

    def maximum(self, name: str, value: Tensor | float, weight: Tensor | float = 1.0) -> None:
        """Add to a maximum; a weight of 0 adds nothing."""
        value = _counted(value, weight, -torch.inf)
        self._maxima[name] = torch.maximum(self._maxima.get(name, value), value)

    def minimum(self, name: str, value: Tensor | float, weight: Tensor | float = 1.0) -> None:
        """Add to a minimum; a weight of 0 adds nothing."""
        value = _counted(value, weight, torch.inf)
        self._minima[name] = torch.minimum(self._minima.get(name, value), value)

    def loss_metrics(self, metrics: Mapping[str, Tensor], counts: Mapping[str, Tensor]) -> None:
        """Add the metrics of one `fipo_loss` call: `*_max` and `*_min` as such, the rest weighted by tokens.

        What is measured on tokens of one sign of the advantage is weighted by those. A quantile of several
        micro-batches is the weighted mean of their quantiles.
        """
        for name, value in metrics.items():
            sign = next((sign for prefix, sign in SIGNED.items() if name.startswith(prefix)), "tokens")
            add = {"max": self.maximum, "min": self.minimum}.get(name.rsplit("_", 1)[-1], self.mean)
            add(name, value, counts[sign])

    def collect(self, gather: Callable[[Tensor], Tensor], device: torch.device) -> dict[str, float]:
        """One number per name over all processes, and a fresh start. Every process must have the same names.

        What had no weight behind it anywhere (no token in the loss) is left out.
        """
        sums, maxima, minima = sorted(self._sums), sorted(self._maxima), sorted(self._minima)
        values = [self._sums[n] for n in sums] + [self._weights[n] for n in sums]
        values += [self._maxima[n] for n in maxima] + [self._minima[n] for n in minima]
        if not values:
            return {}
        row = torch.stack([value.to(device) for value in values])
        every = gather(row.unsqueeze(0)).cpu().double()
        count = len(sums)
        totals = every.sum(dim=0)
        result = {n: (totals[i] / totals[count + i]).item() for i, n in enumerate(sums) if totals[count + i] > 0}
        result |= {n: every[:, 2 * count + i].amax().item() for i, n in enumerate(maxima)}
        result |= {n: every[:, 2 * count + len(maxima) + i].amin().item() for i, n in enumerate(minima)}
        self.__init__()  # type: ignore[misc]
        return {name: value for name, value in result.items() if not math.isinf(value)}


def _scalar(value: Tensor | float) -> Tensor:
    """A detached scalar in the widest float of its device, so that long sums lose nothing."""
    tensor = torch.as_tensor(value).detach()
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)


def _counted(value: Tensor | float, weight: Tensor | float, otherwise: float) -> Tensor:
    value = _scalar(value)
    return torch.where(_scalar(weight).to(value.device) > 0, value, otherwise)


def length_metrics(lengths: Tensor, truncated: Tensor) -> dict[str, float]:
    """Keys `response_length/min|q25|mean|median|q75|max` (tokens) and `response_length/clip_ratio`.

    Args:
        lengths: (B,) tokens of every sampled response of all processes, end token included.
        truncated: (B,) bool, responses that hit the limit.
    """
    lengths = lengths.double()
    metrics = {f"response_length/{name}": torch.quantile(lengths, q).item() for name, q in QUARTILES.items()}
    metrics["response_length/mean"] = lengths.mean().item()
    metrics["response_length/clip_ratio"] = truncated.double().mean().item()
    return metrics


def length_weighted_advantage(batch: Mapping[str, Tensor], gather: Callable[[Tensor], Tensor]) -> float:
    """Σ_i Σ_t A_it / Σ_i L_i over the training batch of all processes; 0 for a batch without tokens."""
    lengths = batch["response_mask"].sum(dim=1)
    sums = torch.stack([(batch["advantages"] * lengths).sum(), lengths.sum().float()]).unsqueeze(0)
    weighted, tokens = gather(sums).sum(dim=0).tolist()
    return weighted / max(tokens, 1.0)


def sampling_metrics(tally: Any) -> dict[str, float]:
    """Keys `dynamic_sampling/generation_batches|sampled_groups|kept_groups|uniform_groups|all_right_groups`.

    Uniform groups have equal rewards (they are dropped where dynamic sampling is on); those of them whose common
    reward is positive are `all_right_groups`.
    """
    return {
        "dynamic_sampling/generation_batches": tally.generation_batches,
        "dynamic_sampling/sampled_groups": tally.sampled,
        "dynamic_sampling/kept_groups": tally.kept,
        "dynamic_sampling/uniform_groups": tally.uniform,
        "dynamic_sampling/all_right_groups": tally.all_right,
    }
