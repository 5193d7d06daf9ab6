"""The part of vLLM that the engine uses, without a model: a response is its seed, and as long as the seed says."""

from __future__ import annotations

import sys
import types
from types import SimpleNamespace


class EngineDeadError(Exception):
    pass


class RefusedError(Exception):
    """No ValueError, as in vLLM."""


class FakeVLLM:
    """Stands in `sys.modules` for vLLM; keeps what it was told."""

    def __init__(self, monkeypatch, *, cpu=False, gpus=1):
        self.options = None
        self.failure = None
        self.params = {}
        self.running = {}
        self.aborted = []
        self.closed = 0
        self.most_in_flight = 0
        self.steps = 0
        self.dies_at = None
        self.context = 256
        platform = SimpleNamespace(
            is_cpu=lambda: cpu,
            is_cuda_alike=lambda: not cpu,
            device_count=lambda: gpus,
            get_device_name=lambda: "NVIDIA Fake",
        )
        modules = {
            "vllm": {"__version__": "9.9.9", "LLM": self.load},
            "vllm.platforms": {"current_platform": platform},
            "vllm.sampling_params": {
                "SamplingParams": SimpleNamespace,
                "RequestOutputKind": SimpleNamespace(FINAL_ONLY="final"),
            },
            "vllm.v1": {},
            "vllm.v1.engine": {},
            "vllm.v1.engine.exceptions": {"EngineDeadError": EngineDeadError},
        }
        for name, content in modules.items():
            module = types.ModuleType(name)
            vars(module).update(content)
            monkeypatch.setitem(sys.modules, name, module)

    def load(self, model, **options):
        self.options = {"model": model, **options}
        if self.failure is not None:
            raise self.failure
        self.model_config = SimpleNamespace(
            max_model_len=self.context,
            dtype="torch.bfloat16",
            hf_text_config=SimpleNamespace(eos_token_id=7),
            get_vocab_size=lambda: 54,
        )
        self.engine_core = SimpleNamespace(shutdown=self.shutdown)
        return SimpleNamespace(llm_engine=self)

    def shutdown(self):
        self.closed += 1

    def add_request(self, name, prompt, params):
        if params.temperature > 2:
            raise RefusedError("temperature must be\nin [0, 2]")
        self.params[name] = params
        self.running[name] = [prompt["prompt_token_ids"], params, 0]
        self.most_in_flight = max(self.most_in_flight, len(self.running))

    def abort_request(self, names):
        self.aborted += names
        for name in names:
            self.running.pop(name, None)

    def step(self):
        """One token for each request; one ends after seed % 10 + 1 tokens, or at its limit."""
        self.steps += 1
        if self.steps == self.dies_at:
            raise EngineDeadError("EngineCore encountered an issue. See stack trace (above) for the root cause.")
        outputs = []
        for name, entry in list(self.running.items()):
            entry[2] += 1
            _, params, length = entry
            ended = length == params.seed % 10 + 1
            finished = ended or length == params.max_tokens
            if finished:
                del self.running[name]
            tokens = [5] * (length - 1) + [3 if ended else 5]
            reason = "stop" if ended else "length" if finished else None
            output = SimpleNamespace(token_ids=tokens, finish_reason=reason)
            outputs.append(SimpleNamespace(request_id=name, finished=finished, outputs=[output]))
        return outputs
