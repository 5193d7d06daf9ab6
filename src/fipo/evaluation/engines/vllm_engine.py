"""Sampling with vLLM in this machine: continuous batching over all requests, one response out as soon as it ends."""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from typing import Any

from fipo.errors import FIPOError, nearest
from fipo.evaluation.engines.base import OnFinished, Prompt, Request, Response, Sampling
from fipo.evaluation.engines.child_log import ChildLog
from fipo.evaluation.engines.orphans import OrphanGuard
from fipo.evaluation.engines.tokens import decode_response, encode_prompt, end_token_ids
from fipo.evaluation.engines.vllm_failures import cause, shorten, why_not

DTYPES = ("auto", "bfloat16", "float16", "float32")
IN_FLIGHT = 4096
"""Requests that vLLM holds at a time: far more than it decodes at once, far fewer than would fill the memory."""
CPU_CACHE_GIB = 4


class VLLMEngine:
    """A model in vLLM's offline engine.

    The same seed gives the same response in any order, up to the rounding of batched matrix products;
    VLLM_BATCH_INVARIANT=1 removes that too on GPUs that vLLM supports it on.
    """

    name = "vllm"
    context_length: int | None

    def __init__(
        self,
        model: str,
        tokenizer: Any,
        *,
        tensor_parallel: int = 1,
        dtype: str = "auto",
        max_tokens_hint: int | None = None,
        gpu_memory: float = 0.9,
        trust_remote_code: bool = False,
        seed: int = 0,
    ) -> None:
        """Load the model; minutes for a large one.

        Args:
            model: folder or hub name; its weights must be safetensors.
            tokenizer: of transformers, for this model.
            tensor_parallel: GPUs to split the model over, ≥ 1.
            dtype: "auto" (that of the checkpoint; float32 becomes half precision), "bfloat16", "float16", "float32".
            max_tokens_hint: response length that will be asked for, to say at once if it does not fit.
            gpu_memory: share of each GPU's memory that vLLM may take, in (0, 1].
            trust_remote_code: run Python code from the model's folder.
            seed: of the engine; each request has its own besides.

        Raises:
            FIPOError: vLLM is missing, cannot run the model, or the memory is too small.
        """
        _check(tensor_parallel, dtype, gpu_memory)
        self._vllm = _import_vllm(tensor_parallel)
        self._model = model
        self._tokenizer = tokenizer
        self._tensor_parallel = tensor_parallel
        self._ids = itertools.count()
        self._prompts: dict[Any, list[int]] = {}
        self._log = ChildLog()
        before = set(multiprocessing.active_children())
        self._llm = self._load(
            dtype=dtype, gpu_memory_utilization=gpu_memory, trust_remote_code=trust_remote_code, seed=seed
        )
        started = [child.pid for child in multiprocessing.active_children() if child.pid and child not in before]
        self._guard = OrphanGuard(started) if started else None
        config = self._llm.llm_engine.model_config
        self.context_length = int(config.max_model_len)
        self._dtype = str(config.dtype).removeprefix("torch.")
        vocabulary = config.get_vocab_size()
        ends = end_token_ids(tokenizer, _generation_config(model, config.hf_text_config, trust_remote_code))
        self._ends = sorted(token for token in ends if token < vocabulary)
        if max_tokens_hint is not None and max_tokens_hint >= self.context_length:
            self.close()
            raise FIPOError(
                f"--max-tokens {max_tokens_hint} and a prompt do not fit into the {self.context_length} tokens that "
                f"{model!r} takes here (its context, or what the memory holds); lower --max-tokens, or raise "
                f"--gpu-memory (now {gpu_memory}) or --tensor-parallel (now {tensor_parallel}) if memory limits it"
            )

    def _load(self, **options: Any) -> Any:
        from vllm.platforms import current_platform

        quiet = os.environ["VLLM_LOGGING_LEVEL"].upper() in ("ERROR", "CRITICAL")
        with self._log.capture() if quiet else contextlib.nullcontext():
            try:
                return self._vllm.LLM(
                    self._model,
                    tokenizer=getattr(self._tokenizer, "name_or_path", None) or None,
                    tensor_parallel_size=self._tensor_parallel,
                    load_format="safetensors",
                    # Otherwise the model's repetition_penalty, top_k, ... would change the sampling unseen.
                    generation_config="vllm",
                    # The longest context that memory allows, instead of an error where the model's own does not fit.
                    max_model_len=-1,
                    # Compiling for a CPU needs a C++ compiler and minutes.
                    enforce_eager=current_platform.is_cpu(),
                    use_tqdm_on_load=False,
                    **options,
                )
            except Exception as error:
                line = why_not(self._vllm.__version__, self._model, cause(error, self._log))
                self._log.close()
                raise FIPOError(line) from error

    def prompt_lengths(self, prompts: Sequence[Prompt]) -> list[int] | None:
        """Tokens of each prompt, template included."""
        return [len(self._encode(prompt)) for prompt in prompts]

    def _encode(self, prompt: Prompt) -> list[int]:
        key: Any = prompt if isinstance(prompt, str) else (json.dumps(prompt),)
        if key not in self._prompts:
            self._prompts[key] = encode_prompt(self._tokenizer, prompt)
        return self._prompts[key]

    def generate(self, requests: Sequence[Request], sampling: Sampling, on_finished: OnFinished) -> None:
        """Sample every request; see `Engine.generate`. Responses that end in the same step are handed over together."""
        self._check_room(requests, sampling)
        engine = self._llm.llm_engine
        waiting = iter(enumerate(requests))
        under_way: dict[str, int] = {}
        try:
            while self._fill(waiting, under_way, sampling):
                finished = []
                for output in self._step(engine):
                    if output.finished:
                        finished.append((under_way.pop(output.request_id), self._response(output.outputs[0])))
                if finished:
                    on_finished(finished)
        except BaseException:
            # The engine may be what failed; the reason must not be hidden by a second error.
            with contextlib.suppress(Exception):
                engine.abort_request(list(under_way))
            raise

    def _check_room(self, requests: Sequence[Request], sampling: Sampling) -> None:
        """Refuse what vLLM would cut off before `max_tokens`."""
        longest = max(self.prompt_lengths([request.prompt for request in requests]) or [0])
        if requests and longest + sampling.max_tokens > (self.context_length or 0):
            raise FIPOError(
                f"--max-tokens {sampling.max_tokens} after a prompt of {longest} tokens is more than the "
                f"{self.context_length} tokens that {self._model!r} takes here; lower --max-tokens, or raise "
                "--gpu-memory or --tensor-parallel if memory limits it"
            )

    def _fill(self, waiting: Iterator[tuple[int, Request]], under_way: dict[str, int], sampling: Sampling) -> bool:
        """Add requests until enough are under way; whether any is."""
        from vllm.v1.engine.exceptions import EngineDeadError

        for index, request in itertools.islice(waiting, IN_FLIGHT - len(under_way)):
            name = str(next(self._ids))
            under_way[name] = index
            prompt = {"type": "token", "prompt_token_ids": self._encode(request.prompt)}
            try:
                self._llm.llm_engine.add_request(name, prompt, self._params(request, sampling))
            except EngineDeadError as error:
                raise self._died(error) from error
            except Exception as error:
                raise FIPOError(f"vLLM refuses a request: {shorten(error)}") from error
        return bool(under_way)

    def _params(self, request: Request, sampling: Sampling) -> Any:
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        return SamplingParams(
            n=1,
            # -1 would mean "no seed" to vLLM.
            seed=request.seed % 2**63,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            stop_token_ids=self._ends,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _step(self, engine: Any) -> Any:
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            return engine.step()
        except EngineDeadError as error:
            raise self._died(error) from error

    def _died(self, error: Exception) -> FIPOError:
        return FIPOError(
            f"vLLM stopped while sampling from {self._model!r} ({cause(error, self._log)}); "
            "if it is memory, lower --gpu-memory or --max-tokens; VLLM_LOGGING_LEVEL=INFO shows its whole log"
        )

    def _response(self, output: Any) -> Response:
        reason = str(output.finish_reason)
        if reason in ("abort", "error"):
            raise FIPOError(f"vLLM gave a response up ({reason}); VLLM_LOGGING_LEVEL=INFO shows its log")
        tokens = list(output.token_ids)
        return Response(decode_response(self._tokenizer, tokens), len(tokens), reason)

    def describe(self) -> dict[str, Any]:
        """Version, precision, device and number of GPUs, for the record."""
        from vllm.platforms import current_platform

        return {
            "version": self._vllm.__version__,
            "dtype": self._dtype,
            "device": "cpu" if current_platform.is_cpu() else current_platform.get_device_name(),
            "tensor_parallel": self._tensor_parallel,
        }

    def close(self) -> None:
        """End vLLM's processes; a second call does nothing."""
        llm, self._llm = self._llm, None
        if llm is not None:
            if self._guard is not None:
                self._guard.release()
            llm.llm_engine.engine_core.shutdown()
            del llm
            gc.collect()
            self._log.close()


def _check(tensor_parallel: int, dtype: str, gpu_memory: float) -> None:
    if tensor_parallel < 1:
        raise FIPOError(
            f"--tensor-parallel {tensor_parallel} must be at least 1: the number of GPUs that share the model"
        )
    if dtype not in DTYPES:
        raise FIPOError(f"--dtype {dtype!r} must be one of {', '.join(DTYPES)}{nearest(dtype, DTYPES)}")
    if not 0 < gpu_memory <= 1:
        raise FIPOError(
            f"--gpu-memory {gpu_memory} must be above 0 and at most 1: the share of a GPU's memory that vLLM may take"
        )


def _import_vllm(tensor_parallel: int) -> Any:
    # vLLM reads these when it is imported; what the user set stays.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # A fork would inherit the threads and the CUDA state of this process.
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    try:
        import vllm
        from vllm.platforms import current_platform
    except ImportError as error:
        raise FIPOError(
            f'--engine vllm needs vLLM, which cannot be imported ({error}): pip install "fipo[vllm]", '
            "or use --engine transformers"
        ) from error
    if current_platform.is_cpu():
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(CPU_CACHE_GIB))
    elif current_platform.is_cuda_alike() and tensor_parallel > current_platform.device_count():
        raise FIPOError(
            f"--tensor-parallel {tensor_parallel} needs as many GPUs, and there are {current_platform.device_count()}"
        )
    return vllm


def _generation_config(model: str, config: Any, trust_remote_code: bool) -> Any:
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(model, trust_remote_code=trust_remote_code)
    except OSError:
        # Without the file transformers, too, takes the end tokens of config.json.
        return config
