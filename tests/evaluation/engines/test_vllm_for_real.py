"""vLLM itself, where it is installed: seeds, the distribution, ends and limits, failures in its processes, Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
import torch

pytest.importorskip("transformers", reason="sampling needs the extra [train]")

from fipo.errors import FIPOError
from fipo.evaluation.engines import vllm_engine
from fipo.evaluation.engines.base import Request, Response, Sampling
from fipo.evaluation.engines.vllm_engine import VLLMEngine
from fipo.tasks.arithmetic import build_tokenizer
from tests.evaluation.engines.tiny_model import save_tiny_model

pytestmark = pytest.mark.slow
SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_tokens=60)


@pytest.fixture(scope="module", autouse=True)
def vllm_with_a_small_cache():
    pytest.importorskip("vllm", reason="needs vLLM")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def engine(folder):
    """Once for all tests: it takes most of a minute to start."""
    from transformers import AutoTokenizer

    running = VLLMEngine(str(folder), AutoTokenizer.from_pretrained(folder), dtype="float32")
    yield running
    running.close()


def run(engine, requests, **sampling):
    collected = []
    engine.generate(requests, Sampling(**{**vars(SAMPLING), **sampling}), collected.extend)
    responses = dict(collected)
    assert len(responses) == len(collected) == len(requests)
    return [responses[index] for index in range(len(requests))]


def numbered(count, first=0):
    return [Request("a 3 = ?" if seed % 2 else "b 4 + 5 = ?", first + seed) for seed in range(count)]


@pytest.fixture(scope="module")
def model(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def first_token_probabilities(model, tokenizer, prompt):
    with torch.no_grad():
        return model(torch.tensor([tokenizer(prompt)["input_ids"]])).logits[0, -1].double().softmax(-1)


def test_vllm_draws_the_same_for_a_seed_in_any_order_and_crowd(engine, monkeypatch):
    expected = run(engine, numbered(60))
    monkeypatch.setattr(vllm_engine, "IN_FLIGHT", 5)
    assert run(engine, numbered(60)[::-1])[::-1] == expected
    assert run(engine, numbered(60)[7:8]) == expected[7:8]
    others = run(engine, numbered(60, first=1000))
    assert sum(one != other for one, other in zip(expected, others)) > 30


def test_greedy_vllm_is_greedy_transformers(engine, model, tokenizer):
    prompts = ["a 3 = ?", "b 4 + 5 = ?", "so a", "no wait", "1 2 3", "yes :"]
    reasons = set()
    for prompt, response in zip(prompts, run(engine, [Request(text, 1) for text in prompts], temperature=0.0)):
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        output = model.generate(
            **inputs, do_sample=False, max_new_tokens=60, repetition_penalty=1.0, top_k=0, pad_token_id=0
        )
        tokens = output[0, inputs["input_ids"].shape[1] :].tolist()
        ended = tokens[-1] in (3, 5)
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        assert response == Response(text, len(tokens), "stop" if ended else "length")
        reasons.add(response.finish_reason)
    assert reasons


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (1.0, 0.6), (0.5, 1.0)])
def test_vllm_draws_from_the_models_distribution_and_no_other(engine, model, tokenizer, temperature, top_p):
    expected = first_token_probabilities(model, tokenizer, "a 3 = ?") ** (1 / temperature)
    expected /= expected.sum()
    if top_p < 1:
        order = expected.argsort(descending=True)
        kept = order[: int((expected[order].cumsum(0) < top_p).sum()) + 1]
        nucleus = torch.zeros_like(expected)
        nucleus[kept] = expected[kept] / expected[kept].sum()
        expected = nucleus
    requests = [Request("a 3 = ?", seed) for seed in range(2000)]
    drawn = Counter(
        response.text for response in run(engine, requests, temperature=temperature, top_p=top_p, max_tokens=1)
    )
    texts = [tokenizer.decode([token], skip_special_tokens=True) for token in range(54)]
    probabilities = Counter()
    for text, probability in zip(texts, expected.tolist()):
        probabilities[text] += probability
    assert all(probabilities[text] > 0 for text in drawn)
    assert len(drawn) > 2
    # Half the sum of |p − q| over 54 tokens: 0.06 for 2000 fair draws, 0.3 and more with top_k 2.
    assert sum(abs(drawn[text] / 2000 - probabilities[text]) for text in probabilities) / 2 < 0.12


def test_vllm_counts_the_end_token_and_cuts_at_the_limit(engine, tokenizer):
    reasons = Counter()
    for response in run(engine, numbered(200), max_tokens=12):
        words = tokenizer(response.text)["input_ids"]
        reasons[response.finish_reason] += 1
        if response.finish_reason == "length":
            assert response.length == 12
            assert not {3, 5} & set(words)
        else:
            # "." is special and not in the text, "=" (5) is an end token of this model but no special one.
            assert response.length <= 12
            assert 5 not in words[:-1]
    assert set(reasons) == {"stop", "length"}


def test_vllm_goes_on_after_its_receiver_failed(engine):
    def on_finished(finished):
        raise KeyError("disk full")

    expected = run(engine, numbered(20))
    with pytest.raises(KeyError, match="disk full"):
        engine.generate(numbered(500), SAMPLING, on_finished)
    assert not engine._llm.llm_engine.has_unfinished_requests()
    assert run(engine, numbered(20)) == expected


def test_vllm_refuses_what_it_cannot_sample_in_one_line(engine):
    with pytest.raises(FIPOError, match="vLLM refuses a request: temperature must be"):
        run(engine, numbered(3), temperature=50.0)
    assert engine.context_length == 256
    assert engine.describe()["dtype"] == "float32"


def test_a_failure_inside_vllms_processes_is_told_in_one_line(folder, tokenizer, tmp_path, capfd):
    path = tmp_path / "model"
    shutil.copytree(folder, path)
    (path / "model.safetensors").write_bytes(b"no weights at all" * 100)
    with pytest.raises(FIPOError, match=r"could not load .*SafetensorError.*VLLM_LOGGING_LEVEL=INFO") as caught:
        VLLMEngine(str(path), tokenizer, dtype="float32")
    assert "\n" not in str(caught.value)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_model_that_vllm_does_not_know_is_told_in_one_line(folder, tokenizer, tmp_path):
    path = tmp_path / "model"
    shutil.copytree(folder, path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "architectures": ["UnheardOfForCausalLM"]}))
    with pytest.raises(FIPOError, match=r"UnheardOfForCausalLM.*use --engine transformers"):
        VLLMEngine(str(path), tokenizer)


PROGRAM = """
import sys
from transformers import AutoTokenizer
from fipo.evaluation.engines.base import Request, Sampling
from fipo.evaluation.engines.vllm_engine import VLLMEngine

def main():
    engine = VLLMEngine(sys.argv[1], AutoTokenizer.from_pretrained(sys.argv[1]), dtype="float32")
    requests = [Request("a 3 = ?", seed) for seed in range(100_000)]
    try:
        engine.generate(requests, Sampling(1.0, 1.0, 100), lambda finished: print("finished", flush=True))
    finally:
        engine.close()

if __name__ == "__main__":
    main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals and sessions")
def test_ctrl_c_leaves_no_process_behind(folder, tmp_path):
    psutil = pytest.importorskip("psutil", reason="looks for processes that were left")
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "__main__.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "program", str(folder)]
    with open(tmp_path / "log", "w+") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        wait_until(lambda: "finished" in (tmp_path / "log").read_text() or process.poll() is not None, seconds=300)
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=120)
    assert process.returncode == -signal.SIGINT
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not [other for other in alive if other.status() != psutil.STATUS_ZOMBIE]
    log = (tmp_path / "log").read_text()
    assert log.count("Traceback") == 1, log
    assert "KeyboardInterrupt" in log


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
