"""Problems with reference answers, whatever their source, as a data set of one schema."""

from __future__ import annotations

import hashlib
import json
import math
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fipo.errors import FIPOError, nearest
from fipo.tasks.extraction import extract_answer
from fipo.tasks.prompts import Messages, bare_problem, chat_messages
from fipo.tasks.prompts import prompt_style as style_function
from fipo.tasks.sources import open_source

if TYPE_CHECKING:
    from datasets import Dataset

PROBLEM_KEYS = ("problem", "question", "prompt", "query")
ANSWER_KEYS = ("answer", "ground_truth", "reward_model.ground_truth", "final_answer", "expected_answer", "solution")
ID_KEYS = ("id", "unique_id")
DEFAULT_STYLE = "dapo"


_MISSING = object()


def load_problems(
    source: str | Path,
    *,
    problem_key: str | None = None,
    answer_key: str | None = None,
    prompt_style: str | None = None,
    split: str | None = None,
    limit: int | None = None,
) -> Dataset:
    r"""Problems as a data set with the columns `prompt`, `answer`, `problem` and `id`.

    Arguments:
        source: a file of JSON lines (`.jsonl`, `.json`) or `.parquet`; a short name in
            `fipo.tasks.sources.HUB_SOURCES`; or a hub id `org/name`.
        problem_key, answer_key: the keys to read, with dots for nested ones (`reward_model.ground_truth`). Without
            them, the first of `PROBLEM_KEYS` and `ANSWER_KEYS` that the first row has serves for all rows.
        prompt_style: a name in `fipo.tasks.prompts.PROMPT_STYLES`. Without it, a problem that is plain text gets
            `dapo`, and one given as chat messages (the verl schema, whose text already holds an instruction) keeps
            its messages as they are. With it, every problem is stripped of a known instruction and written anew.
        split: split of a hub data set; by default the one of the short name, else `train`.
        limit: read this many rows at most.

    Rules: `problem` is the bare problem. An answer of several lines or with `####` is reduced to its final answer,
    and a key `solution` must hold one (`\boxed{}`). Ids are the file's own (`id`, `unique_id`) or a digest of problem
    and answer, so they do not depend on the order of rows; a repeated problem gets `-2`, `-3`, ...

    Raises `FIPOError`, in one line that names file, line and key, for a source that cannot be read or is empty, and
    for a row without problem or answer, with an answer that is no text or number, or with an id of an earlier row.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise FIPOError(f"limit must be a whole number of rows from 1 up, or None, not {limit!r}")
    if prompt_style is not None:
        style_function(prompt_style)
    rows, hub = open_source(source, split)
    if hub is not None:
        problem_key, answer_key = problem_key or hub.problem_key, answer_key or hub.answer_key
    records: dict[str, list[Any]] = {"prompt": [], "answer": [], "problem": [], "id": []}
    places: dict[str, str] = {}
    for where, row in islice(rows, limit):
        problem_key = problem_key or _find_key(where, row, PROBLEM_KEYS, "problem")
        answer_key = answer_key or _find_key(where, row, ANSWER_KEYS, "answer")
        prompt, problem = _prompt(where, problem_key, _value(where, row, problem_key), prompt_style)
        if records["prompt"] and type(prompt) is not type(records["prompt"][0]):
            raise FIPOError(f"{where}: key {problem_key!r} mixes text and chat messages; give a prompt style")
        answer = _answer(where, answer_key, _value(where, row, answer_key))
        records["prompt"].append(prompt)
        records["answer"].append(answer)
        records["problem"].append(problem)
        records["id"].append(_identifier(where, row, problem, answer, places))
    if not places:
        raise FIPOError(f"{source}: holds no problems")
    from datasets import Dataset

    return Dataset.from_dict(records)


def _find_key(where: str, row: dict[str, Any], candidates: tuple[str, ...], what: str) -> str:
    for key in candidates:
        if _look_up(row, key) is not _MISSING:
            return key
    raise FIPOError(
        f"{where}: no {what} under any of the keys {', '.join(candidates)}; give {what}_key, the row has {_keys(row)}"
    )


def _keys(row: dict[str, Any]) -> str:
    return ", ".join(f"{str(key)!r:.40}" for key in islice(row, 12)) or "no keys"


def _look_up(row: dict[str, Any], key: str) -> Any:
    if key in row:
        return row[key]
    value: Any = row
    for part in key.split("."):
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                return _MISSING
        if not isinstance(value, dict) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _value(where: str, row: dict[str, Any], key: str) -> Any:
    value = _look_up(row, key)
    if value is _MISSING:
        raise FIPOError(f"{where}: no key {key!r}{nearest(key, row)}; the row has {_keys(row)}")
    return value


def _prompt(where: str, key: str, value: Any, style: str | None) -> tuple[str | Messages, str]:
    """The prompt and the bare problem."""
    own: Messages | None = None
    text = value
    if isinstance(value, list):
        try:
            own, text = chat_messages(value)
        except ValueError as error:
            raise FIPOError(f"{where}: key {key!r} {error}") from error
    elif value is not None and not isinstance(value, str):
        raise FIPOError(f"{where}: key {key!r} must be text or chat messages, not {type(value).__name__}")
    problem = _clean(where, key, bare_problem(text or ""))
    if not problem:
        raise FIPOError(f"{where}: key {key!r} is empty; every row needs a problem")
    if own is not None and style is None:
        return own, problem
    return style_function(style or DEFAULT_STYLE)(problem), problem


def _answer(where: str, key: str, value: Any) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise FIPOError(f"{where}: key {key!r} is empty; every problem needs an answer")
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise FIPOError(f"{where}: key {key!r} must be text or a number, not {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise FIPOError(f"{where}: key {key!r} must be a finite number, not {value}")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = _clean(where, key, str(value).strip())
    if key.split(".")[-1] == "solution":
        found = extract_answer(text)
        if found is None:
            raise FIPOError(f"{where}: key {key!r} is a solution without \\boxed{{}} around its answer")
        return found
    return (extract_answer(text) or text) if "####" in text or "\n" in text else text


def _clean(where: str, key: str, text: str) -> str:
    """`text`, unless it holds half of a surrogate pair, which JSON can write and no encoder accepts."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FIPOError(f"{where}: key {key!r} holds a character that is not valid Unicode") from error
    return text


def _identifier(where: str, row: dict[str, Any], problem: str, answer: str, places: dict[str, str]) -> str:
    """The row's id; `places` maps every id so far to its place."""
    own = next((row[key] for key in ID_KEYS if row.get(key) not in (None, "")), None)
    if own is not None:
        if isinstance(own, bool) or not isinstance(own, (str, int)):
            raise FIPOError(f"{where}: the id must be text or a whole number, not {type(own).__name__}")
        identifier = _clean(where, "id", str(own))
        if identifier in places:
            raise FIPOError(f"{where}: id {identifier!r} is also that of {places[identifier]}; ids must be unique")
    else:
        digest = hashlib.sha256(f"{problem}\0{answer}".encode()).hexdigest()[:16]
        identifier, count = digest, 1
        while identifier in places:
            count += 1
            identifier = f"{digest}-{count}"
    places[identifier] = where
    return identifier
