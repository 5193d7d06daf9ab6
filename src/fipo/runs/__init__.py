"""The folders of training runs and evaluations: written by trainer and evaluation, read by reports."""

from fipo.runs.base import SCHEMA_VERSION
from fipo.runs.environment import describe_environment
from fipo.runs.evaluation import EvaluationFolder
from fipo.runs.folder import RunFolder

__all__ = ["SCHEMA_VERSION", "EvaluationFolder", "RunFolder", "describe_environment"]
