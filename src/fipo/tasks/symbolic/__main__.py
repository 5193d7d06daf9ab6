"""The helper process: `python <this folder>`, which spares it the import of the package (and of PyTorch).

One JSON request a line on stdin, one JSON reply a line on stdout, until stdin closes.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import IO, Any

# Run by the path of its folder, this file finds its neighbours as modules of their own.
from sandbox import MEMORY_LIMIT, Refused, Sandbox, limit  # type: ignore[import-not-found]

# Resident bytes after which the helper asks to be replaced, before its caches crowd out a comparison.
RETIREMENT_SIZE = 700 << 20
# An orphaned helper ends itself this long after the time limit of its last comparison.
ORPHAN_GRACE = 2.0


def serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    nowhere = open(os.devnull, "w")  # noqa: SIM115 - lives as long as the process
    # Whatever a library prints must not mix with the replies.
    os.dup2(nowhere.fileno(), 1)
    statistics = memory_statistics()
    try:
        sandbox, compare = shut_sandbox()
    except ImportError as error:
        send(replies, {"error": str(error)})
        return
    send(replies, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        faulthandler.dump_traceback_later(request["timeout"] + ORPHAN_GRACE, exit=True, file=nowhere)
        reply = {"verdict": guarded(sandbox, compare, request["candidate"], request["reference"])}
        faulthandler.cancel_dump_traceback_later()
        if resident_size(statistics) > RETIREMENT_SIZE:
            reply["retire"] = "yes"
        send(replies, reply)


def send(replies: IO[str], message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def shut_sandbox() -> tuple[Sandbox, Callable[[str, str], str]]:
    """The sandbox, shut, and the comparison inside, tested. Raises `ImportError` without a math-verify that works."""
    limit("RLIMIT_AS", MEMORY_LIMIT)
    limit("RLIMIT_CORE", 0)
    import algebra  # type: ignore[import-not-found]

    # From here on, a module of this folder must not hide one of the same name.
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]
    algebra.prepare()
    # What is loaded now stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    sys.dont_write_bytecode = True
    limit("RLIMIT_FSIZE", 0)
    sandbox = Sandbox(algebra.generators())
    sandbox.install()
    try:
        mistake = algebra.self_test()
    except Refused as refused:
        mistake = f"the sandbox refused {refused}"
    if mistake:
        raise ImportError(f"this version of math-verify or sympy fails the self-test: {mistake}")
    return sandbox, algebra.verdict


def guarded(sandbox: Sandbox, compare: Callable[[str, str], str], candidate: str, reference: str) -> str:
    sandbox.refusals.clear()
    try:
        verdict = compare(candidate, reference)
    except (Exception, Refused):
        return "unreadable"
    # Something on the way may have taken the refusal for an answer of another kind.
    return "unreadable" if sandbox.refusals else verdict


def memory_statistics() -> IO[bytes] | None:
    """Opened before the sandbox is shut; `None` where the system has no such file."""
    try:
        return open("/proc/self/statm", "rb", buffering=0)
    except OSError:
        return None


def resident_size(statistics: IO[bytes] | None) -> int:
    if statistics is None:
        return 0
    statistics.seek(0)
    return int(statistics.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    serve()
