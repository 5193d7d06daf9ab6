"""Asking an OpenAI-compatible server, again where that may help; failures as one line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from typing import Any

from fipo.errors import FIPOError
from fipo.evaluation.engines.base import Response
from fipo.evaluation.engines.server_protocol import (
    GaveUpError,
    check_url,
    find_model,
    read_response,
    shown_url,
    status_line,
)

CONNECT_SECONDS = 30.0
LONGEST_PAUSE = 60.0
# Of its own: whoever seeded the global generator must find it as it was.
_JITTER = random.Random()


class ServerClient:
    """One server, and how patiently it is asked."""

    def __init__(self, base_url: str, api_key: str | None, timeout: float, retries: int) -> None:
        """Nothing is sent yet.

        Args:
            base_url: like http://host:8000/v1.
            api_key: instead of the one in OPENAI_API_KEY.
            timeout: seconds to wait for one response.
            retries: tries after the first.

        Raises:
            FIPOError: openai is missing, or the address is none.
        """
        self.openai = _import_openai()
        self._url = check_url(base_url)
        self.shown = shown_url(self._url)
        # openai refuses to work without a key, and servers that need none take any.
        self._key = api_key or os.environ.get("OPENAI_API_KEY") or "EMPTY"
        self._timeout, self._retries = timeout, retries

    def _options(self, timeout: float) -> dict[str, Any]:
        return {
            "base_url": self._url,
            "api_key": self._key,
            "timeout": self.openai.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
            "max_retries": 0,
        }

    def connections(self) -> Any:
        """What `ask` sends with, as an asynchronous context; belongs to one event loop."""
        return self.openai.AsyncOpenAI(**self._options(self._timeout))

    def look_up(self, model: str) -> tuple[dict[str, Any], str | None]:
        """The server's entry for `model`, and the version if it is a vLLM server.

        Raises:
            FIPOError: the server cannot be reached, is none, or does not serve the model.
        """
        with self.openai.OpenAI(**self._options(min(self._timeout, CONNECT_SECONDS))) as client:
            try:
                answer = client.get("/models", cast_to=object)
            except self.openai.APIError as error:
                raise FIPOError(self._line("/models", error, tries=1)) from error
            except (json.JSONDecodeError, UnicodeDecodeError):
                answer = "no JSON"
            entry = find_model(answer, model, self.shown)
            version = None
            # Nothing depends on it.
            with contextlib.suppress(Exception):
                if entry.get("owned_by") == "vllm":
                    version = str(client.get(self._url.removesuffix("/v1") + "/version", cast_to=object)["version"])
        return entry, version

    async def ask(self, client: Any, path: str, fields: dict[str, Any]) -> Response:
        """One response, however many tries it takes.

        Args:
            client: the context of `connections()`.
            path: as "/completions".
            fields: the JSON body.

        Raises:
            FIPOError: where more tries would be in vain, or were.
        """
        tries = 0
        while True:
            tries += 1
            failure: Exception
            try:
                return read_response(await client.post(path, body=fields, cast_to=object))
            except (self.openai.APIError, GaveUpError) as error:
                failure = error
            except FIPOError as error:
                raise FIPOError(f"{self.shown}{path} {error}") from error
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise FIPOError(f"{self.shown}{path} gives an answer that is no JSON ({error})") from error
            if tries > self._allowed_retries(failure):
                raise FIPOError(self._line(path, failure, tries)) from failure
            await asyncio.sleep(_pause(tries, failure))

    def _allowed_retries(self, error: Exception) -> int:
        if _timed_out(error):
            # Once, for a connection that was lost unnoticed; a server that hangs would hang for hours.
            return min(1, self._retries)
        status = getattr(error, "status_code", None)
        passes = status is None or status in (408, 409, 425, 429) or status >= 500
        return self._retries if passes else 0

    def _line(self, path: str, error: Exception, tries: int) -> str:
        where, times = f"{self.shown}{path}", f" {tries} times" if tries > 1 else ""
        status = getattr(error, "status_code", None)
        if status is not None:
            return status_line(self.shown, path, status, getattr(error, "body", None), str(error), times)
        if isinstance(error, GaveUpError):
            return f"{where} gave a response up{times} ({error}); see the server's log"
        if _timed_out(error):
            return (
                f"{where} gave no answer in {self._timeout:g} s{times}; "
                "ask for fewer responses at a time (--batch-size), or lower --max-tokens"
            )
        cause = error.__cause__ or error
        return (
            f"cannot reach {where}{times} ({' '.join(str(cause).split()) or type(cause).__name__}); start the server, "
            "or correct --base-url, which must be like http://host:8000/v1"
        )


def _import_openai() -> Any:
    try:
        import openai
    except ImportError as error:
        raise FIPOError(f'--engine server needs the package openai ({error}): pip install "fipo[eval]"') from error
    return openai


def _timed_out(error: Exception) -> bool:
    """Whether a response took too long; that no connection came about in time is another matter."""
    return type(error).__name__ == "APITimeoutError" and type(error.__cause__).__name__ != "ConnectTimeout"


def _pause(tries: int, error: Exception) -> float:
    """Seconds before the next try: what the server asks for, else 1, 2, 4, ... with jitter; a minute at most."""
    response = getattr(error, "response", None)
    with contextlib.suppress(TypeError, ValueError, AttributeError):
        return min(LONGEST_PAUSE, max(0.0, float(response.headers.get("retry-after"))))  # type: ignore[union-attr]
    return min(LONGEST_PAUSE, 2.0 ** (tries - 1)) * _JITTER.uniform(0.5, 1.0)
