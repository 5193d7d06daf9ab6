"""`fipo eval`: a model and problems in; a table with intervals and every graded response out."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from fipo.errors import FIPOError

# What may be given with --resume.
RESUMABLE = ("resume", "k", "base_url", "batch_size", "device", "tensor_parallel", "gpu_memory")


def evaluate(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model folder, run folder, hub name, or arithmetic-base.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", "-d", help="aime24, aime25, math500, gsm8k, arithmetic, files; several with commas."),
    ] = None,
    n: Annotated[int, typer.Option("--n", help="Responses per problem.")] = 32,
    temperature: Annotated[float, typer.Option(help="Sampling temperature; 0 decodes greedily (with --n 1).")] = 1.0,
    top_p: Annotated[float, typer.Option("--top-p", help="Mass of the most likely tokens to draw from.")] = 0.7,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Length limit. Default: what the context leaves, up to 20480.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many problems of each data set.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    k: Annotated[
        str | None, typer.Option("--k", help="The k of pass@k and maj@k, such as 1,8,32. Default: powers of two.")
    ] = None,
    prompt_style: Annotated[
        str | None, typer.Option("--prompt-style", help="dapo, boxed, chat or raw. Default: dapo, or the data's chats.")
    ] = None,
    problem_key: Annotated[str | None, typer.Option("--problem-key", help="Key of the problem in a row.")] = None,
    answer_key: Annotated[
        str | None, typer.Option("--answer-key", help="Key of the answer, such as reward_model.ground_truth.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a hub data set.")] = None,
    last_number: Annotated[
        bool, typer.Option("--last-number", help="Take the last number of a response that marks no answer.")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="transformers, vllm or server. Default: vLLM where it is installed.")
    ] = "auto",
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="OpenAI-compatible server; its key is read from OPENAI_API_KEY.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", help="Responses at once: transformers 32, server 64; vLLM has its own."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="Where transformers runs: auto, cpu, cuda, cuda:1, ...")] = "auto",
    tensor_parallel: Annotated[int, typer.Option("--tensor-parallel", help="GPUs that share the model (vLLM).")] = 1,
    gpu_memory: Annotated[float, typer.Option("--gpu-memory", help="Share of the GPU's memory for vLLM.")] = 0.9,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder. Default: runs/eval/MODEL-DATA, continued if it is there."),
    ] = None,
    resume: Annotated[Path | None, typer.Option("--resume", help="Evaluation to continue, with its settings.")] = None,
) -> None:
    """Sample responses, grade them, and print avg@k, cons@k and pass@k with 95 % intervals.

    The same command continues an evaluation that was cut off; nothing is sampled twice.
    """
    from fipo.evaluation.settings import EvalSettings, Runtime, parse_counts, split_names

    runtime = Runtime(batch_size, device, tensor_parallel, gpu_memory, base_url)
    if resume is not None:
        _refuse_settings(context)
        from fipo.evaluation.run import settings_of

        settings, out = settings_of(resume), resume
    else:
        if model is None:
            raise FIPOError("no model: give --model FOLDER_OR_NAME (try --model arithmetic-base --data arithmetic)")
        settings = EvalSettings(
            model=model,
            data=split_names(data or []),
            n=n,
            temperature=temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            seed=seed,
            limit=limit,
            prompt_style=prompt_style,
            problem_key=problem_key,
            answer_key=answer_key,
            split=split,
            allow_last_number=last_number,
            engine=engine,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
        )
    counts = parse_counts(k, settings.n)
    shown = counts if k is not None else (settings.n,)
    _run(settings, out or default_folder(settings.model, settings.data), runtime, counts, shown)


def _run(settings: Any, out: Path, runtime: Any, counts: tuple[int, ...], shown: tuple[int, ...]) -> None:
    from rich.console import Console

    from fipo.cli.eval_display import EvalDisplay, print_summary
    from fipo.evaluation.run import evaluate as run_evaluation

    console = Console()
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with EvalDisplay(console, settings, out, base_url=runtime.base_url) as display:
            summary = run_evaluation(settings, out, runtime=runtime, counts=counts, progress=display)
    finally:
        signal.signal(signal.SIGTERM, before)
    print_summary(console, summary, shown)
    console.print(f"responses and summary: {out}", soft_wrap=True, markup=False)


def _refuse_settings(context: typer.Context) -> None:
    """With --resume, only what changes no response may be given beside it."""
    given = [name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    wrong = [f"--{name.replace('_', '-')}" for name in given if name not in RESUMABLE]
    if wrong:
        raise FIPOError(f"--resume continues an evaluation with its own settings: leave {', '.join(wrong)} out")


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM, by which schedulers end jobs, leaves the folder as Ctrl-C does."""
    raise KeyboardInterrupt


def default_folder(model: str, data: tuple[str, ...]) -> Path:
    """runs/eval/MODEL-DATA with the last parts of the names."""
    parts = [part for part in Path(model).parts if part not in ("/", "..", "model")]
    name = "-".join(["-".join(parts[-2:]), *(Path(source).stem for source in data)])
    return Path("runs") / "eval" / (re.sub(r"[^\w.-]+", "-", name)[:100] or "model")
