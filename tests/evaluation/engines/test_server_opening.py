"""Before a server is sampled from: its address, its models, the key, what goes on record."""

from __future__ import annotations

import socket
import sys

import pytest

pytest.importorskip("openai", reason="the server engine needs the package openai")

from fipo.errors import FIPOError
from fipo.evaluation.engines.base import Request, Sampling
from fipo.evaluation.engines.server_engine import ServerEngine
from tests.evaluation.engines.fake_server import fake_server


@pytest.fixture
def server():
    with fake_server() as running:
        yield running


def test_a_model_that_is_not_served_is_named_with_the_nearest(server):
    server.models = [{"id": f"model-{index}"} for index in range(20)] + [{"id": "Qwen2.5-Math-7B"}]
    with pytest.raises(FIPOError, match=r"no model 'Qwen2.5-Maths-7B' \(did you mean 'Qwen2.5-Math-7B'\?\).*21 in all"):
        ServerEngine(server.url, "Qwen2.5-Maths-7B")


@pytest.mark.parametrize(
    ("models", "complaint"),
    [
        ((404, {"detail": "Not Found"}, {}), "--base-url must be like http://host:8000/v1"),
        ((401, {"error": {"message": "who are you"}}, {}), r"401 \(who are you\); give the key in OPENAI_API_KEY"),
        ((503, "loading", {}), "503"),
        ((200, "<html>welcome</html>", {"Content-Type": "text/html"}), "gives no list of models"),
        ((200, "{", {}), "gives no list of models"),
        ((200, {"data": None}, {}), "gives no list of models"),
        ((200, {"data": [{"name": "tiny"}]}, {}), "gives no list of models"),
    ],
)
def test_a_server_without_a_list_of_models_is_refused(server, models, complaint):
    server.models = models
    with pytest.raises(FIPOError, match=complaint):
        ServerEngine(server.url, "tiny")


def test_a_path_that_is_not_the_apis_names_one_to_try(server):
    url = server.url.removesuffix("/v1")
    with pytest.raises(FIPOError, match=rf"answered 404 .*\(try {url}/v1\)"):
        ServerEngine(url, "tiny")


@pytest.mark.parametrize("url", ["localhost:8000/v1", "host/v1", "", "ftp://host/v1", "http://", "http://host:port/v1"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(FIPOError, match="--base-url must be like http://host:8000/v1"):
        ServerEngine(url, "tiny")


def test_a_server_that_is_not_there_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(FIPOError, match=f"cannot reach {url}/models .*start the server, or correct --base-url"):
        ServerEngine(url, "tiny")


def test_the_key_is_the_argument_else_that_of_the_environment_else_a_placeholder(server, monkeypatch):
    def ask(**key):
        sampling = Sampling(temperature=1.0, top_p=1.0, max_tokens=5)
        ServerEngine(server.url, "tiny", **key).generate([Request("one", 1)], sampling, lambda finished: None)

    ask()
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    ask()
    ask(api_key="given")
    keys = [headers.get("Authorization", headers.get("authorization")) for headers in server.headers]
    assert keys == ["Bearer EMPTY", "Bearer from-environment", "Bearer given"]


def test_the_record_holds_the_server_but_no_secret(server):
    server.models = [{"id": "tiny", "owned_by": "vllm", "max_model_len": 4096}]
    url = server.url.replace("http://", "http://user:secret@") + "/"
    engine = ServerEngine(url, "tiny", api_key="hidden")
    about = engine.describe()
    assert about["base_url"] == server.url
    assert about["server"] == "vllm 9.9"
    assert set(about) == {"base_url", "openai", "server"}
    assert "secret" not in str(about)
    assert "hidden" not in str(about)
    assert engine.context_length == 4096
    assert engine.prompt_lengths(["one"]) is None


def test_secrets_in_the_address_stay_out_of_messages(server):
    url = server.url.replace("http://", "http://user:secret@")
    with pytest.raises(FIPOError) as caught:
        ServerEngine(url, "other")
    assert "secret" not in str(caught.value)
    for address in ("user:secret@host/v1", "ftp://user:secret@host/v1", "host?key=secret", "http://user:secret@/v1"):
        with pytest.raises(FIPOError, match="--base-url") as caught:
            ServerEngine(address, "other")
        assert "secret" not in str(caught.value)


def test_a_server_that_does_not_tell_its_context_leaves_it_open(server):
    assert ServerEngine(server.url, "tiny").context_length is None


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"concurrency": 0}, "--batch-size 0 must be from 1 to 1000"),
        ({"concurrency": 1001}, "--batch-size 1001"),
        ({"timeout": 0}, "timeout 0"),
        ({"timeout": float("nan")}, "timeout nan"),
        ({"retries": -1}, "retries -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, complaint):
    with pytest.raises(FIPOError, match=complaint):
        ServerEngine("http://127.0.0.1:9/v1", "tiny", **settings)


def test_without_openai_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(FIPOError, match=r"pip install .fipo\[eval\]"):
        ServerEngine("http://127.0.0.1:9/v1", "tiny")
