"""The run folder, written by the trainer and read by reports and evaluation."""

from fipo.runs.environment import describe_environment
from fipo.runs.folder import SCHEMA_VERSION, RunFolder

__all__ = ["SCHEMA_VERSION", "RunFolder", "describe_environment"]
