"""Sampling from a model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp, a provider)."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from fipo.errors import FIPOError
from fipo.evaluation.engines.base import OnFinished, Prompt, Request, Response, Sampling
from fipo.evaluation.engines.server_client import ServerClient
from fipo.evaluation.engines.server_protocol import request_body

MAX_CONCURRENCY = 1000
"""What openai's pool of connections takes."""


class ServerEngine:
    """A served model; each request asks for one response, with a seed of its own."""

    name = "server"
    context_length: int | None

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        concurrency: int = 64,
        timeout: float = 3600.0,
        retries: int = 8,
    ) -> None:
        """Look the model up at the server.

        Args:
            base_url: like http://host:8000/v1.
            model: its name at the server.
            api_key: instead of the one in OPENAI_API_KEY; many servers need none.
            concurrency: requests under way at a time, 1 to 1000.
            timeout: seconds to wait for one response, > 0.
            retries: tries after the first where the server is busy, fails or cannot be reached, ≥ 0; one at most after
                a time-out.

        Raises:
            FIPOError: openai is missing, the server cannot be reached, or it does not serve the model.
        """
        if not 1 <= concurrency <= MAX_CONCURRENCY:
            raise FIPOError(f"--batch-size {concurrency} must be from 1 to {MAX_CONCURRENCY} requests at a time")
        if not timeout > 0:
            raise FIPOError(f"timeout {timeout} must be more than 0 seconds; a long response can take an hour (3600)")
        if retries < 0:
            raise FIPOError(f"retries {retries} must be at least 0")
        self._client = ServerClient(base_url, api_key, timeout, retries)
        self._model = model
        self._concurrency = concurrency
        entry, self._version = self._client.look_up(model)
        self._owner = entry.get("owned_by")
        length = entry.get("max_model_len")
        self.context_length = length if isinstance(length, int) and length > 0 else None

    def prompt_lengths(self, prompts: Sequence[Prompt]) -> list[int] | None:
        """None: only the server has the tokenizer."""
        return None

    def generate(self, requests: Sequence[Request], sampling: Sampling, on_finished: OnFinished) -> None:
        """Sample every request; see `Engine.generate`. `on_finished` is called in this thread, in order of finishing.

        Raises:
            FIPOError: the server refuses a request or keeps failing; what had finished has been handed over.
        """
        if not requests:
            return
        bodies = (request_body(self._model, self._owner, request, sampling) for request in requests)
        sender = _Sender(self._client, bodies, min(self._concurrency, len(requests)))
        sender.start()
        try:
            for batch, failure in sender.batches():
                if batch:
                    on_finished(batch)
                if failure is not None:
                    raise failure
        finally:
            sender.stop()

    def describe(self) -> dict[str, Any]:
        """Address without credentials, and versions, for the record."""
        about: dict[str, Any] = {"base_url": self._client.shown, "openai": self._client.openai.__version__}
        if self._owner is not None:
            about["server"] = f"{self._owner} {self._version}" if self._version else str(self._owner)
        return about

    def close(self) -> None:
        """Nothing to release: connections live as long as a call of `generate`."""


class _Sender(threading.Thread):
    """Keeps requests under way in an event loop of its own: the caller's thread may have one, and may be slow."""

    def __init__(self, client: ServerClient, bodies: Iterator[tuple[str, dict[str, Any]]], workers: int) -> None:
        super().__init__(name="fipo-server-engine", daemon=True)
        self._client, self._bodies, self._workers = client, enumerate(bodies), workers
        # Responses as they finish, then None at the end or what ended it early.
        self._items: queue.SimpleQueue[tuple[int, Response] | BaseException | None] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._main())
            self._items.put(None)
        except BaseException as error:
            self._items.put(error)
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._ready.set()
        async with self._client.connections() as connections:
            workers = [asyncio.create_task(self._work(connections)) for _ in range(self._workers)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, connections: Any) -> None:
        for index, (path, fields) in self._bodies:
            self._items.put((index, await self._client.ask(connections, path, fields)))

    def batches(self) -> Iterator[tuple[list[tuple[int, Response]], BaseException | None]]:
        """(responses finished since the last batch, the failure that ends all or None), until all have finished."""
        ended = False
        while not ended:
            items: list[Any] = []
            # On Windows, a wait without an end could not be interrupted.
            with contextlib.suppress(queue.Empty):
                items.append(self._items.get(timeout=0.5))
                while True:
                    items.append(self._items.get_nowait())
            ended = None in items
            failure = next((item for item in items if isinstance(item, BaseException)), None)
            yield [item for item in items if isinstance(item, tuple)], failure

    def stop(self) -> None:
        """Cancel what is under way, if anything is, and wait until the connections are closed."""
        self._ready.wait()
        if self._loop is not None and self._task is not None:
            # The loop may have ended by itself in the meantime.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)
        # A name look-up cannot be cancelled and may outlive the wait.
        self.join(timeout=10)
