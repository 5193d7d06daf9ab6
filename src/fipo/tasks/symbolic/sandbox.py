"""A second wall around comparisons, for the case that a library runs what it should only read.

LaTeX is read by a grammar, so no text of a model is ever code. Should that fail, the process that reads it has little
memory, can write no file, and refuses to open sockets, start processes, change files, load C libraries or compile code.
It is no prison: within one process, nothing can hold native code back.
"""

from __future__ import annotations

import contextlib
import os
import sys
from types import CodeType, FrameType
from typing import Any

MEMORY_LIMIT = 2 << 30
"""Bytes of address space of the process, where the system can limit it."""

_REFUSED = (
    *("_thread.", "_winapi.", "code.__new__", "cpython.", "ctypes.", "ensurepip.", "fcntl.", "ftplib.", "function."),
    *("http.", "imaplib.", "mmap.", "msvcrt.", "nntplib.", "os.", "pdb.", "pickle.", "poplib.", "pty.", "resource."),
    *("shutil.", "signal.", "smtplib.", "socket.", "sqlite3.", "subprocess.", "sys.addaudithook", "sys.set"),
    *("syslog.", "telnetlib.", "tempfile.", "urllib.", "webbrowser.", "winreg."),
)
# The search for modules lists folders; the last event is that of the interpreter's end.
_ALLOWED = frozenset({"os.listdir", "os.scandir", "cpython._PySys_ClearAuditHooks"})
_FORMS = (os.path.abspath, os.path.realpath)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Refused(BaseException):
    """The sandbox refused an action. Not an `Exception`, so that no library mends it on the way out."""


class Sandbox:
    """An audit hook that refuses whatever reaches outside the process, and remembers that it did."""

    def __init__(self, generators: frozenset[CodeType] = frozenset()) -> None:
        """`generators`: code objects that may compile the text they make, as they make it of names of their own."""
        self.refusals: list[str] = []
        self._generators = generators
        folders = {form(path) for path in (*sys.path, sys.prefix, sys.base_prefix) if path for form in _FORMS}
        self._module_folders = tuple(folder.rstrip(os.sep) + os.sep for folder in folders)

    def install(self) -> None:
        """From here on, for the rest of the process: an audit hook cannot be taken away again."""
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if event in ("compile", "exec"):
            refused = not self._is_import_or_generator(sys._getframe(1))
        elif event == "open":
            refused = not self._reads_a_module(*args)
        else:
            refused = event.startswith(_REFUSED) and event not in _ALLOWED
        if refused:
            self.refusals.append(event)
            raise Refused(event)

    def _is_import_or_generator(self, frame: FrameType | None) -> bool:
        """Importing a module runs its file, and some modules compile text of theirs meanwhile; text never imports."""
        if frame is not None and frame.f_code in self._generators:
            return True
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return True
            frame = frame.f_back
        return False

    def _reads_a_module(self, path: Any, mode: str | None, flags: int) -> bool:
        if (mode and set(mode) & set("wax+")) or flags & _WRITING or isinstance(path, int):
            return False
        path = os.path.abspath(os.fsdecode(path))
        return path.startswith(self._module_folders) and path.endswith((".py", ".pyc"))


def limit(name: str, value: int) -> None:
    """Lower a limit of the `resource` module, `RLIMIT_AS` for instance, for good; nothing where there is none."""
    try:
        import resource
    except ImportError:
        return
    kind = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (allowed, allowed))
