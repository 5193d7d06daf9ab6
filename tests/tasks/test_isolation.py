from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fipo.errors import FIPOError
from fipo.tasks import Grade, grade, grade_many
from fipo.tasks.isolation import SymbolicWorker, WorkerPool, pool, set_pool_size

TOWER = r"\boxed{9^{9^{9^9}}}"
HALF = (r"\boxed{x + x}", "2x")
needs_sigkill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


@pytest.fixture
def three() -> Iterator[WorkerPool]:
    own = WorkerPool(3)
    yield own
    own.close()


@pytest.fixture
def of_one() -> Iterator[None]:
    pool.close()
    set_pool_size(1)
    yield
    set_pool_size(None)


def run_threads(count: int, work: Callable[[int], object], limit: float = 120) -> None:
    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + limit
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        assert not thread.is_alive(), "a thread did not come back"


def gone(pid: int) -> bool:
    for _ in range(200):
        status = Path(f"/proc/{pid}/stat")
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.usefixtures("of_one")
@pytest.mark.parametrize("text", [TOWER, r"\boxed{10^{9999999999}}", r"\boxed{99999999!}", r"\boxed{(x+1)^{100000}}"])
def test_an_overrun_is_wrong_and_replaces_the_helper(text: str) -> None:
    assert grade(*HALF).correct
    before = pool.pids
    assert grade(text, "x^2", timeout=0.5).reason == "time limit"
    assert pool.pids == []
    assert grade(*HALF).correct
    assert len(pool.pids) == 1
    assert pool.pids != before


@pytest.mark.parametrize("length", [100_000, 1_000_000])
@pytest.mark.parametrize("filler", ["x", "{", "\\", "$", "Answer: ", r"\boxed{", " "])
def test_a_long_response_takes_its_time_limit_at_most(filler: str, length: int) -> None:
    seconds = []
    for answer in (TOWER, r"\boxed{(x+1)^{100000}}"):
        # The start of a helper has a limit of its own.
        assert grade(*HALF).correct
        started = time.monotonic()
        assert not grade(filler * (length // len(filler)) + answer, "x^2", timeout=0.5).correct
        seconds.append(time.monotonic() - started)
    # Half a second and one more; the quicker of two, since other processes share the machine.
    assert min(seconds) < 1.5


def test_threads_have_the_same_time_limit() -> None:
    results: list[Grade] = []
    run_threads(1, lambda _: results.append(grade(TOWER, "5", timeout=0.5)))
    run_threads(1, lambda _: results.append(grade(*HALF)))
    assert [result.reason for result in results] == ["time limit", "symbolically equal"]


def test_helpers_start_only_when_those_before_are_busy(three: WorkerPool) -> None:
    assert three.pids == []
    for number in range(3):
        assert three.compare(f"x+{number}", f"{number}+x", 20) == "equal"
        assert len(three.pids) == 1
    first = three.pids
    run_threads(5, lambda number: [three.compare(f"x+{number}+{n}", f"{n + number}+x", 20) for n in range(10)])
    assert 1 <= len(three.pids) <= 3
    assert set(first) <= set(three.pids)


def test_a_slow_comparison_does_not_hold_up_the_others(three: WorkerPool) -> None:
    three.resize(2)
    finished: list[tuple[str, float]] = []

    def work(number: int) -> None:
        if number == 0:
            verdict = three.compare("9^{9^{9^9}}", "5", 5)
        else:
            verdict = three.compare(f"x+{number}", f"{number}+x", 20)
        finished.append((verdict, time.monotonic()))

    run_threads(6, work)
    assert [verdict for verdict, _ in finished] == ["equal"] * 5 + ["timeout"]
    assert len(three.pids) == 1


def test_the_wait_for_a_free_helper_does_not_count(three: WorkerPool) -> None:
    three.resize(1)
    assert three.compare("x", "y", 20) == "different"
    verdicts: list[str] = []
    # Four waits of 0.7 s are longer than the limit that each comparison has to itself.
    run_threads(4, lambda _: verdicts.append(three.compare("9^{9^{9^9}}", "5", 0.7)))
    run_threads(1, lambda _: verdicts.append(three.compare("x+x", "2x", 0.7)))
    assert verdicts == ["timeout"] * 4 + ["equal"]


def test_the_size_is_checked_and_can_shrink(three: WorkerPool) -> None:
    for size in (0, -1, 1.5, True, "2"):
        with pytest.raises(FIPOError, match="whole number from 1 up"):
            set_pool_size(size)  # type: ignore[arg-type]
    assert 1 <= WorkerPool().size <= 8
    barrier = threading.Barrier(3)
    taken = []

    def hold(number: int) -> None:
        worker = three._take()
        worker.compare("x", "y", 20)
        taken.append(worker)
        barrier.wait(60)

    run_threads(3, hold)
    assert len(three.pids) == 3
    for worker in taken:
        three._idle.put(worker)
    three.resize(1)
    assert len(three.pids) == 1
    assert three.compare("x+x", "2x", 20) == "equal"


def test_a_worker_that_an_interrupt_loses_leaves_no_gap(three: WorkerPool) -> None:
    three.resize(1)
    assert three.compare("x+x", "2x", 20) == "equal"
    pid = three.pids[0]
    # As if the interrupt came between taking the worker and the `try` that gives it back.
    three._take()
    gc.collect()
    assert gone(pid)
    assert three.compare("x+x", "2x", 20) == "equal"


@needs_sigkill
@pytest.mark.parametrize("text", ["9^{9^{9^9}}", "x+x"])
def test_an_interrupt_in_the_middle_breaks_nothing(text: str, three: WorkerPool) -> None:
    three.resize(1)
    assert three.compare("x+x", "2x", 20) == "equal"
    for delay in (0.001, 0.05, 0.3):
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the interrupt may come at any point
            timer.start()
            while True:
                three.compare(text, "2x", 20)
        timer.join()
        # A reply left under way would be taken for the answer to this.
        assert three.compare("y", "2x", 20) == "different"
        assert three.compare("x+x", "2x", 20) == "equal"
    assert len(three.pids) == 1


@needs_sigkill
def test_an_interrupt_ends_a_batch_at_once() -> None:
    assert grade(*HALF).correct
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    started = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        grade_many([f"\\boxed{{9^{{9^{{9^{n}}}}}}}" for n in range(20)], ["x"] * 20, timeout=4)
    # Twenty overruns would take forty seconds on two cores.
    assert time.monotonic() - started < 15
    assert grade(*HALF).correct


def _grade_in_child(queue: Any) -> None:
    many = grade_many([HALF[0], r"\boxed{y+y}"], ["2x", "2y"])
    queue.put((all(result.correct for result in many), grade(TOWER, "5", timeout=0.5).reason))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_child_processes_start_their_own_helpers(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no start method {method} here")
    assert grade(*HALF).correct
    before = pool.pids
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_grade_in_child, args=(queue,))
    # As if other threads were grading at the moment of the fork: the child must not wait for them.
    held = pool._take()
    with pool._lock:
        child.start()
    assert queue.get(timeout=120) == (True, "time limit")
    child.join(60)
    assert child.exitcode == 0
    pool._idle.put(held)
    assert grade(*HALF).correct
    assert set(before) <= set(pool.pids)


def test_a_worker_of_ones_own_closes_twice() -> None:
    own = SymbolicWorker()
    assert own.pid is None
    own.close()
    assert own.compare("1/2", "0.5", 20) == "equal"
    assert own.compare("1/3", "0.5", 20) == "different"
    own.close()
    own.close()
    assert own.pid is None
