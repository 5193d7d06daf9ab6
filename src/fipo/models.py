"""Which model a user means, and its loading: a folder, a run of this project, a name on the hub, the shipped one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from fipo.errors import FIPOError, nearest
from fipo.runs.files import read_json
from fipo.runs.folder import RunFolder

ARITHMETIC_MODEL = "arithmetic-base"
"""Names the base model of the embedded task, which ships with the package."""

DEVICES = ("cpu", "cuda", "mps", "xpu", "npu")

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
# Larger files are read in this many places, which tells two trainings apart without reading hundreds of gigabytes.
_FINGERPRINT_WHOLE, _FINGERPRINT_PLACES, _FINGERPRINT_BLOCK = 64 << 20, 1024, 4096
_FINGERPRINT_FILES = (".safetensors", ".json", ".jinja", ".model", ".txt")


def resolve_model(name: str) -> str:
    """The folder or hub name that `name` stands for.

    A run folder of this project stands for its final model, or for its newest checkpoint where training has not
    ended. Raises `FIPOError`, with the nearest name, where a folder is meant that does not exist or holds no model.
    """
    if name == ARITHMETIC_MODEL:
        from fipo.tasks.arithmetic import base_model_path

        return str(base_model_path())
    path = Path(name).expanduser()
    if path.is_dir():
        return str(_model_in(path))
    local = path.is_absolute() or path.exists() or name.startswith((".", "~")) or not _HUB_NAME.fullmatch(name)
    if local or (path.parent != Path() and path.parent.is_dir()):
        what = "is not a folder" if path.exists() else "does not exist"
        raise FIPOError(
            f"model {name}: {what}{nearest(name, [*_siblings(path), ARITHMETIC_MODEL])}; give a model folder, a run "
            f"folder, a hub name such as Qwen/Qwen2.5-0.5B, or {ARITHMETIC_MODEL}"
        )
    return name


def _siblings(path: Path) -> list[str]:
    return [str(entry) for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []


def _model_in(path: Path) -> Path:
    if (path / "config.json").is_file() and not RunFolder.holds_run(path):
        return path
    if (path / "adapter_config.json").is_file():
        return path
    if RunFolder.holds_run(path):
        model = RunFolder.open(path).model()
        if model is None:
            raise FIPOError(f"{path} is a run without a model yet: it has neither model/ nor a whole checkpoint")
        return model
    inside = [str(entry) for entry in sorted(path.iterdir()) if entry.is_dir() and RunFolder.holds_run(entry)]
    hint = f"; there are runs in it: {', '.join(inside)}" if inside else ": it has no config.json"
    raise FIPOError(f"{path} holds no model{hint}")


def load_tokenizer(model: str, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a resolved model, padding on the left. Raises `FIPOError` where it cannot be loaded."""
    from transformers import AutoTokenizer

    base = _base_of_adapter(Path(model))
    if base is not None and not (Path(model) / "tokenizer_config.json").is_file():
        model = base
    try:
        return AutoTokenizer.from_pretrained(model, padding_side="left", trust_remote_code=trust_remote_code)
    except Exception as error:
        raise FIPOError(f"cannot load the tokenizer of {_kind(model)} {model!r}: {_reason(model, error)}") from None


def load_model(model: str, *, dtype: str = "auto", device: str = "auto", trust_remote_code: bool = False) -> Any:
    """The causal language model (or adapter on its base) of a resolved name, in evaluation mode.

    Weights are read from safetensors alone. `device` "auto" takes the GPU where there is one; `dtype` "auto" takes
    what the model was saved in. Raises `FIPOError` where it cannot be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.split(":")[0] not in DEVICES:
        raise FIPOError(f"--device {device!r} must be auto or one of {', '.join(DEVICES)}, such as cuda or cuda:1")
    try:
        loaded, report = AutoModelForCausalLM.from_pretrained(
            model,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
        if missing := sorted(report["missing_keys"]):
            # They would be filled with random numbers.
            raise FIPOError(f"model {model} lacks {len(missing)} of its weights ({', '.join(missing[:3])}, ...)")
        return loaded.to(device).eval()
    except FIPOError:
        raise
    except Exception as error:
        raise FIPOError(f"cannot load {_kind(model)} {model!r} on {device}: {_reason(model, error)}") from None


def fingerprint(model: str) -> str | None:
    """Tells whether a folder still holds the same weights: 16 hex digits; None for a name on the hub.

    Covers name, size and content of configuration, tokenizer and weights (of files above 64 MiB, 1,024 blocks spread
    evenly), and the base of an adapter.
    """
    folder = Path(model)
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in _FINGERPRINT_FILES and file.is_file():
            size = file.stat().st_size
            digest.update(f"{file.name}\0{size}\0".encode())
            with open(file, "rb") as stream:
                if size <= _FINGERPRINT_WHOLE:
                    digest.update(stream.read())
                    continue
                for place in range(_FINGERPRINT_PLACES):
                    stream.seek(place * (size - _FINGERPRINT_BLOCK) // (_FINGERPRINT_PLACES - 1))
                    digest.update(stream.read(_FINGERPRINT_BLOCK))
    base = _base_of_adapter(folder)
    if base is not None:
        digest.update(str(fingerprint(base)).encode())
    return digest.hexdigest()[:16]


def _base_of_adapter(folder: Path) -> str | None:
    """The model that an adapter belongs to."""
    file = folder / "adapter_config.json"
    base = read_json(file).get("base_model_name_or_path") if file.is_file() else None
    return base if isinstance(base, str) else None


def _kind(model: str) -> str:
    return "model folder" if Path(model).is_dir() else "hub model"


def _reason(model: str, error: Exception) -> str:
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
    if Path(model).is_dir():
        return reason
    return f"{reason}{nearest(model, _cached_models())}; check the name and the network, or give a folder"


def _cached_models() -> list[str]:
    """Models that were downloaded before: a mistyped name is most often one of them."""
    try:
        from huggingface_hub import scan_cache_dir

        return [repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model"]
    except Exception:
        return []
