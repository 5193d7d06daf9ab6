"""Writing that survives: files whole or not at all, JSON lines that a killed process leaves readable."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fipo.errors import FIPOError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_WRITABLE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.EBUSY),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether `error`, or what caused it, is the disk being full, in the words of the libraries that write."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        text = str(error)
        if any(sign in text for sign in ("No space left on device", "os error 28", "PytorchStreamWriter failed")):
            return True
        error = error.__cause__ or error.__context__
    return False


def write_json_atomically(file: Path, content: dict[str, Any]) -> None:
    """Write JSON whole or not at all (temporary file, then rename)."""
    write_text_atomically(file, json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n")


def write_text_atomically(file: Path, text: str) -> None:
    """Write text whole or not at all (temporary file, then rename)."""
    with clear_disk_errors(file):
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises `FIPOError` where it is missing, not JSON, or something else than an object."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FIPOError(f"{file} is missing") from None
    except (ValueError, RecursionError) as error:
        raise FIPOError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise FIPOError(f"{file} holds a {type(content).__name__}, not an object")
    return content


def json_line(row: dict[str, Any]) -> str:
    """One row as a line of a JSON lines file."""
    return json.dumps(row, ensure_ascii=False, default=str) + "\n"


def json_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON lines file; a last line that was cut off is left out, as is a missing file."""
    if not file.exists():
        return
    with open(file, encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith("\n"):
                return
            try:
                yield json.loads(line)
            except ValueError:
                raise FIPOError(f"{file}, line {number} is not valid JSON: mend or remove the line") from None


@contextmanager
def clear_disk_errors(file: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one line each."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise FIPOError(f"no disk space left to write {file}: free some, then continue with --resume") from None
        if error.errno in NOT_WRITABLE:
            raise FIPOError(f"cannot write {file}: {error.strerror}") from None
        raise
