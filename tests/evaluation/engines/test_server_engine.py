"""Sampling from a server: what is sent, what its answers mean, patience, hand-over, giving up, Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

pytest.importorskip("openai", reason="the server engine needs the package openai")

from fipo.errors import FIPOError
from fipo.evaluation.engines import server_client
from fipo.evaluation.engines.base import Request, Response, Sampling
from fipo.evaluation.engines.server_engine import ServerEngine
from tests.evaluation.engines.fake_server import chat, completion, fake_server

SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_tokens=50)
MESSAGES = [{"role": "user", "content": "a 3 = ?"}]


@pytest.fixture
def pauses(monkeypatch):
    """The pauses before tries, which are not waited for."""
    asked, original = [], server_client._pause
    monkeypatch.setattr(server_client, "_pause", lambda tries, error: asked.append(original(tries, error)) or 0.0)
    return asked


@pytest.fixture
def server():
    with fake_server() as running:
        yield running


def run(server, requests, sampling=SAMPLING, **settings):
    collected = []
    ServerEngine(server.url, "tiny", **settings).generate(requests, sampling, collected.extend)
    responses = dict(collected)
    assert len(responses) == len(collected) == len(requests)
    return [responses[index] for index in range(len(requests))]


def refusal(server, requests, handed_over=None, **settings):
    with pytest.raises(FIPOError) as caught:
        ServerEngine(server.url, "tiny", **settings).generate(
            requests, SAMPLING, (handed_over if handed_over is not None else []).extend
        )
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_text_goes_to_completions_with_all_settings_of_the_sampling(server):
    server.answer = lambda path, body, number: completion(f"response to {body['prompt']}", 7)
    responses = run(server, [Request("one", 11), Request("two", 22)])
    assert responses == [Response("response to one", 7, "stop"), Response("response to two", 7, "stop")]
    assert {path for path, _ in server.bodies} == {"/v1/completions"}
    expected = {"model": "tiny", "temperature": 0.7, "top_p": 0.9, "max_tokens": 50, "n": 1}
    sent = sorted((body for _, body in server.bodies), key=lambda body: body["seed"])
    assert sent == [{**expected, "prompt": "one", "seed": 11}, {**expected, "prompt": "two", "seed": 22}]


def test_messages_go_to_chat_completions(server):
    server.answer = lambda path, body, number: chat({"role": "assistant", "content": "yes"}, 2)
    assert run(server, [Request(MESSAGES, 1)]) == [Response("yes", 2, "stop")]
    path, body = server.bodies[0]
    assert path == "/v1/chat/completions"
    assert body["messages"] == MESSAGES
    assert "prompt" not in body


@pytest.mark.parametrize(("owner", "neutral"), [("vllm", True), ("sglang", True), ("openai", False), (None, False)])
def test_a_server_that_would_fill_in_the_models_sampling_settings_is_told_not_to(server, owner, neutral):
    server.models = [{"id": "tiny", "owned_by": owner}]
    run(server, [Request("one", 1)])
    filled = {name: server.bodies[0][1].get(name) for name in ("top_k", "min_p", "repetition_penalty")}
    neutral_values = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
    assert filled == (neutral_values if neutral else dict.fromkeys(neutral_values))


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts_that_the_server_took_out_are_put_back(server, field):
    server.answer = lambda path, body, number: chat({"content": "4", field: "2 + 2"}, 9)
    assert run(server, [Request(MESSAGES, 1)]) == [Response("<think>2 + 2</think>4", 9, "stop")]


def test_thoughts_that_were_cut_off_are_not_closed(server):
    server.answer = lambda path, body, number: chat({"content": None, "reasoning_content": "2 +"}, 50, "length")
    (response,) = run(server, [Request(MESSAGES, 1)])
    assert response == Response("<think>2 +", 50, "length")
    assert response.truncated


@pytest.mark.parametrize("answer", [chat({"content": None}), chat({"content": None, "reasoning": None}), chat({})])
def test_a_message_without_content_is_an_empty_response(server, answer):
    server.answer = lambda path, body, number: answer
    assert run(server, [Request(MESSAGES, 1)]) == [Response("", 4, "stop")]


def test_other_reasons_to_finish_are_kept(server):
    server.answer = lambda path, body, number: completion(reason="content_filter")
    assert run(server, [Request("one", 1)])[0].finish_reason == "content_filter"


def test_a_response_that_the_server_aborted_is_asked_for_again(server, pauses):
    server.answer = lambda path, body, number: completion(reason="abort" if number == 0 else "stop")
    assert run(server, [Request("one", 1)]) == [Response("so 4 .", 4, "stop")]
    assert len(server.bodies) == 2


def test_many_requests_are_under_way_at_once_and_each_answer_finds_its_request(server):
    meet = threading.Barrier(32, timeout=20)

    def answer(path, body, number):
        if number < 32:
            meet.wait()
        time.sleep(0.002 * (body["seed"] % 5))
        return completion(f"response {body['seed']}", body["seed"])

    server.answer = answer
    responses = run(server, [Request("one", 1000 + index) for index in range(200)], concurrency=32)
    assert responses == [Response(f"response {seed}", seed, "stop") for seed in range(1000, 1200)]
    assert server.peak == 32
    assert len(server.bodies) == 200


def test_responses_are_handed_over_in_this_thread_as_they_finish(server):
    go_on = threading.Event()
    server.answer = lambda path, body, number: completion(str(body["seed"] == 0 and go_on.wait(20)))
    order, threads = [], set()

    def on_finished(finished):
        order.extend(index for index, _ in finished)
        threads.add(threading.current_thread())
        if len(order) == 3:
            go_on.set()

    engine = ServerEngine(server.url, "tiny", concurrency=2)
    engine.generate([Request("one", seed) for seed in range(4)], SAMPLING, on_finished)
    assert order == [1, 2, 3, 0]
    assert threads == {threading.current_thread()}


def test_nothing_to_sample_sends_nothing(server):
    assert run(server, []) == []
    assert server.bodies == []


def test_a_busy_server_is_asked_again_after_the_pause_it_names(server, pauses):
    busy = (429, {"error": {"message": "slow down"}}, {"Retry-After": "7"})
    server.answer = lambda path, body, number: busy if number < 2 else completion()
    assert run(server, [Request("one", 1)]) == [Response("so 4 .", 4, "stop")]
    assert pauses == [7.0, 7.0]


def test_pauses_double_up_to_a_minute(server, pauses):
    server.answer = lambda path, body, number: (503, "loading", {})
    assert "503 10 times" in refusal(server, [Request("one", 1)], retries=9)
    assert len(pauses) == 9
    for pause, longest in zip(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]):
        assert longest / 2 <= pause <= longest


def test_a_connection_that_breaks_is_tried_again(server, pauses):
    server.answer = lambda path, body, number: None if number == 0 else completion()
    assert run(server, [Request("one", 1)]) == [Response("so 4 .", 4, "stop")]


def test_a_server_that_keeps_failing_ends_it_after_what_finished_was_handed_over(server, pauses):
    broken = (500, {"error": {"message": "CUDA\nerror"}}, {})
    server.answer = lambda path, body, number: broken if body["seed"] == 2 else completion()
    handed_over = []
    line = refusal(server, [Request("one", seed) for seed in range(5)], handed_over, retries=3, concurrency=1)
    assert line.startswith(f"{server.url}/completions answered 500 4 times (CUDA error)")
    assert [index for index, _ in handed_over] == [0, 1]
    assert len(server.bodies) == 6


@pytest.mark.parametrize(
    ("status", "fix"), [(400, "--max-tokens"), (401, "OPENAI_API_KEY"), (404, "--base-url"), (422, "--max-tokens")]
)
def test_a_refusal_is_not_asked_again_and_names_the_fix(server, pauses, status, fix):
    server.answer = lambda path, body, number: (status, {"error": {"message": "no, for a reason"}}, {})
    line = refusal(server, [Request("one", 1)])
    assert str(status) in line
    assert "no, for a reason" in line
    assert fix in line
    assert len(server.bodies) == 1


def test_a_server_that_hangs_is_tried_twice_and_no_more(server, pauses):
    over = threading.Event()
    server.answer = lambda path, body, number: completion(str(over.wait(20)))
    try:
        line = refusal(server, [Request("one", 1)], timeout=0.3, retries=5)
    finally:
        over.set()
    assert "gave no answer in 0.3 s 2 times" in line
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ((200, '{"choices": [', {}), "is no JSON"),
        ((200, "<html>welcome</html>", {"Content-Type": "text/html"}), "in the form of OpenAI's API"),
        ({"choices": []}, "in the form of OpenAI's API"),
        ([1], "in the form of OpenAI's API"),
        (chat({"content": [{"type": "text"}]}), "in the form of OpenAI's API"),
        ({"choices": [{"text": "so", "finish_reason": "stop"}]}, "no usage.completion_tokens"),
        (completion(length=None), "no usage.completion_tokens"),
        (completion(reason=None), "no finish_reason"),
    ],
)
def test_an_answer_that_cannot_be_counted_on_is_refused(server, answer, complaint):
    server.answer = lambda path, body, number: answer
    line = refusal(server, [Request("one", 1)])
    assert line.startswith(f"{server.url}/completions gives")
    assert complaint in line


@pytest.mark.parametrize("error", [KeyboardInterrupt(), KeyError("disk full")])
def test_what_the_receiver_raises_ends_the_sampling_at_once(server, error):
    over = threading.Event()
    server.answer = lambda path, body, number: completion(str(number > 0 and over.wait(60)))

    def on_finished(finished):
        raise error

    try:
        with pytest.raises(type(error)) as caught:
            ServerEngine(server.url, "tiny", concurrency=8).generate(
                [Request("one", seed) for seed in range(100)], SAMPLING, on_finished
            )
        assert caught.value is error
        # While the answers are still awaited.
        assert not sending()
        assert len(server.bodies) <= 9
    finally:
        over.set()


def test_ctrl_c_while_nothing_finishes_ends_the_sampling(server):
    over = threading.Event()

    def answer(path, body, number):
        if number == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return completion(str(over.wait(60)))

    server.answer = answer
    try:
        with pytest.raises(KeyboardInterrupt):
            run(server, [Request("one", seed) for seed in range(100)], concurrency=8)
        assert not sending()
        assert len(server.bodies) == 8
    finally:
        over.set()


def sending():
    return [thread for thread in threading.enumerate() if thread.name == "fipo-server-engine"]
