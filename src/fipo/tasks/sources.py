"""Where problems come from: rows of a local file or of a data set on the Hugging Face hub, each with its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fipo.errors import FIPOError, nearest


class HubSource(NamedTuple):
    """Where a data set with a short name lies on the hub, and which of its splits and keys to read.

    `split` is for training, `eval_split` for evaluation.
    """

    repository: str
    config: str | None
    split: str
    eval_split: str
    problem_key: str
    answer_key: str


HUB_SOURCES = {
    "aime24": HubSource("HuggingFaceH4/aime_2024", None, "train", "train", "problem", "answer"),
    "aime25": HubSource("math-ai/aime25", None, "test", "test", "problem", "answer"),
    "math500": HubSource("HuggingFaceH4/MATH-500", None, "test", "test", "problem", "answer"),
    "gsm8k": HubSource("openai/gsm8k", "main", "train", "test", "question", "answer"),
    # The original holds each of its 17k problems a hundred times; this copy has them once, in the same schema.
    "dapo-math-17k": HubSource(
        "open-r1/DAPO-Math-17k-Processed", "all", "train", "train", "prompt", "reward_model.ground_truth"
    ),
}

Row = tuple[str, dict[str, Any]]


def open_source(source: str | Path, split: str | None) -> tuple[Iterator[Row], HubSource | None]:
    """The rows of `source`, each after the words that name its place, and the hub entry of a short name.

    Nothing is ever evaluated or unpickled: rows come from JSON, parquet or `datasets` without remote code. Raises
    `FIPOError` for a source that does not exist or has no reader; reading the rows raises it for what is malformed.
    """
    if not isinstance(source, (str, Path)):
        raise FIPOError(f"a source of problems must be a path or a name, not {type(source).__name__}")
    name, path = str(source), Path(source).expanduser()
    reader = {".jsonl": _json_rows, ".json": _json_rows, ".parquet": _parquet_rows}.get(path.suffix)
    if isinstance(source, Path) or reader is not None or path.is_file():
        if not path.is_file():
            siblings = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
            raise FIPOError(f"{path}: no such file{nearest(path.name, siblings)}")
        if reader is None:
            raise FIPOError(f"{path}: problems are read from .jsonl, .json (one object a line) or .parquet")
        if split is not None:
            raise FIPOError(f"{path}: a file has no splits, so leave out split={split!r}")
        return reader(path), None
    hub = HUB_SOURCES.get(name.lower())
    if hub is None and path.is_dir():
        raise FIPOError(f"{path}: is a folder; name a .jsonl, .json or .parquet file in it")
    if hub is None and name.count("/") != 1:
        raise FIPOError(
            f"no data set {name!r}{nearest(name.lower(), HUB_SOURCES)}; give a file (.jsonl, .json, .parquet), "
            f"a hub id org/name or one of {', '.join(HUB_SOURCES)}"
        )
    if hub is None:
        return _hub_rows(name, None, split or "train"), None
    return _hub_rows(hub.repository, hub.config, split or hub.split), hub


def _json_rows(path: Path) -> Iterator[Row]:
    try:
        with path.open("rb") as handle:
            for number, line in enumerate(handle, 1):
                where = f"{path}, line {number}"
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                    row = json.loads(text) if text else None
                except UnicodeDecodeError as error:
                    raise FIPOError(f"{where}: not UTF-8 (byte {error.start + 1} of the line)") from error
                except (ValueError, RecursionError) as error:
                    raise FIPOError(f"{where}: not valid JSON: {error}; write one object a line") from error
                if not text:
                    continue
                if not isinstance(row, dict):
                    raise FIPOError(f"{where}: a {type(row).__name__}, not an object; write one object a line")
                yield where, row
    except OSError as error:
        raise FIPOError(f"{path}: cannot be read: {error.strerror or error}") from error


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise FIPOError(f"{path}: reading .parquet needs pyarrow; install fipo[eval]") from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise FIPOError(f"{path}: cannot be read as parquet after row {number}: {_first_line(error)}") from error


def _hub_rows(repository: str, config: str | None, split: str) -> Iterator[Row]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise FIPOError(f"{repository}: loading from the hub needs datasets; install fipo[eval]") from error
    try:
        data = load_dataset(repository, config, split=split)
    except Exception as error:
        raise FIPOError(
            f"{repository}: cannot load split {split!r} ({_first_line(error)}); check the name, the split and the "
            "network, or give a local file"
        ) from error
    for number, row in enumerate(data, 1):
        yield f"{repository} ({split}), row {number}", row


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
