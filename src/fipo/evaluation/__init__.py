"""Sampling from a model and estimating its accuracy."""

from fipo.evaluation.estimators import Estimate, avg_at_k, paired_difference, share
from fipo.evaluation.sampling import Response, sample_responses

__all__ = ["Estimate", "Response", "avg_at_k", "paired_difference", "sample_responses", "share"]
