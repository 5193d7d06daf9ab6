"""What is sent to an OpenAI-compatible server, what its answers mean, and what to say when they mean nothing good."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from fipo.errors import FIPOError, nearest
from fipo.evaluation.engines.base import Request, Response, Sampling

# These two fill sampling settings that a request leaves out from the model's generation_config.json; other servers
# refuse the names below.
_FILLS_IN = ("vllm", "sglang")
_NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


class GaveUpError(Exception):
    """An answer that says that the server gave this request up; asking again may help."""


def check_url(base_url: str) -> str:
    """`base_url` without a slash at the end. Raises `FIPOError` where it is no http address."""
    try:
        parts = urlsplit(base_url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise FIPOError(
            f"{shown_url(base_url)!r} is no address of a server; --base-url must be like http://host:8000/v1"
        )
    return base_url.rstrip("/")


def shown_url(url: str) -> str:
    """`url` without user, password and query, which may hold secrets."""
    scheme, separator, rest = url.rpartition("://")
    address = rest.split("?")[0].split("#")[0]
    return f"{scheme.rpartition('@')[2]}{separator}{address.rpartition('@')[2]}"


def request_body(model: str, owner: str | None, request: Request, sampling: Sampling) -> tuple[str, dict[str, Any]]:
    """(path, JSON body) that asks for one response.

    Args:
        model: its name at the server.
        owner: `owned_by` of the server's model list, which tells what server it is.
        request: text goes to /completions, messages go to /chat/completions.
        sampling: how tokens are drawn.
    """
    fields: dict[str, Any] = {
        "model": model,
        "n": 1,
        # -1 would mean "no seed" to vLLM.
        "seed": request.seed % 2**63,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if owner in _FILLS_IN:
        fields |= _NEUTRAL
    if isinstance(request.prompt, str):
        return "/completions", {**fields, "prompt": request.prompt}
    return "/chat/completions", {**fields, "messages": request.prompt}


def read_response(answer: Any) -> Response:
    """The response in a server's answer.

    Raises:
        GaveUpError: the server gave the request up ("abort").
        FIPOError: the answer is malformed, or lacks what lengths and truncation are counted from.
    """
    try:
        choice = answer["choices"][0]
        text = _message_text(choice) if "message" in choice else choice["text"] or ""
        reason, usage = choice.get("finish_reason"), answer.get("usage")
    except (TypeError, KeyError, IndexError, AttributeError):
        reason, usage, text = None, None, None
    if not isinstance(text, str):
        raise FIPOError(f"gives no completion in the form of OpenAI's API, but {_excerpt(answer)}")
    if reason in ("abort", "error"):
        raise GaveUpError(f"finish_reason {reason!r}")
    length = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if not isinstance(length, int) or not isinstance(reason, str):
        missing = "usage.completion_tokens" if isinstance(reason, str) else "finish_reason"
        raise FIPOError(f"gives no {missing}, without which lengths and truncation would be wrong; use another server")
    return Response(text, length, reason)


def _message_text(choice: dict[str, Any]) -> Any:
    """The message, with the thoughts that a reasoning parser took out put back: graders read the whole response."""
    message = choice["message"]
    content = message.get("content") or ""
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    if not isinstance(thoughts, str) or not isinstance(content, str):
        return content
    # Cut off in mid-thought, it has no closing tag.
    closing = "" if choice.get("finish_reason") == "length" and not content else "</think>"
    return f"<think>{thoughts}{closing}{content}"


def find_model(answer: Any, model: str, url: str) -> dict[str, Any]:
    """The entry of `model` in the server's list of models. Raises `FIPOError` where there is none, or no list."""
    try:
        entries = {str(entry["id"]): entry for entry in answer["data"]}
    except (TypeError, KeyError):
        raise FIPOError(f"{url}/models gives no list of models, but {_excerpt(answer)}; {wrong_path(url)}") from None
    if model not in entries:
        raise FIPOError(f"{url} serves no model {model!r}{nearest(model, entries)}; there are {_listed(entries)}")
    return dict(entries[model])


def wrong_path(url: str) -> str:
    """What to try where the server knows no such path."""
    tried = "" if url.endswith("/v1") else f" (try {url}/v1)"
    return f"--base-url must be like http://host:8000/v1{tried}"


def status_line(url: str, path: str, status: int, body: Any, message: str, times: str) -> str:
    """One line about an answer that is an error: what the server says (`times` as " 3 times"), and what may help."""
    said = _said(body, message)
    fix = "see the server's log"
    if status in (401, 403):
        fix = "give the key in OPENAI_API_KEY"
    elif status == 404:
        fix = wrong_path(url)
    elif status in (400, 413, 422):
        fix = "lower --max-tokens if prompt and response do not fit, or leave out what the server does not take"
    elif status == 429:
        fix = "ask for fewer responses at a time (--batch-size)"
    return f"{url}{path} answered {status}{times} ({said}); {fix}"


def _said(body: Any, message: str) -> str:
    if isinstance(body, dict):
        inner = body.get("error", body)
        message = (inner.get("message") or inner.get("detail") or message) if isinstance(inner, dict) else inner
    return " ".join(str(message).split())[:300] or "no message"


def _excerpt(answer: Any) -> str:
    return repr(" ".join(str(answer).split())[:120])


def _listed(names: Iterable[str], limit: int = 8) -> str:
    every = sorted(names)
    return (", ".join(every[:limit]) or "none") + (f", ... ({len(every)} in all)" if len(every) > limit else "")
