"""Which model a name stands for, and what is said of one that is none."""

from __future__ import annotations

import shutil

import pytest

from fipo.errors import FIPOError
from fipo.models import fingerprint, load_model, load_tokenizer, resolve_model
from fipo.runs import RunFolder
from fipo.tasks.arithmetic import base_model_path


@pytest.fixture
def run(tmp_path):
    """A run folder with two checkpoints, of which the later was cut off, and no final model."""
    folder = RunFolder.create(tmp_path / "runs" / "first", config={}, environment={})
    for number, whole in ((4, True), (8, False)):
        shutil.copytree(base_model_path(), folder.path / f"checkpoint-{number}")
        if whole:
            (folder.path / f"checkpoint-{number}" / "fipo_state.json").write_text("{}")
    return folder


def test_the_shipped_model_a_folder_and_a_hub_name_are_themselves(tmp_path):
    assert resolve_model("arithmetic-base") == str(base_model_path())
    assert resolve_model(str(base_model_path())) == str(base_model_path())
    assert resolve_model("Qwen/Qwen2.5-0.5B") == "Qwen/Qwen2.5-0.5B"


def test_a_run_folder_is_its_final_model_or_its_newest_whole_checkpoint(run):
    assert resolve_model(str(run.path)) == str(run.path / "checkpoint-4")
    shutil.copytree(base_model_path(), run.path / "model")
    assert resolve_model(str(run.path)) == str(run.path / "model")


def test_a_run_without_a_model_says_so(tmp_path):
    RunFolder.create(tmp_path / "run", config={}, environment={})
    with pytest.raises(FIPOError, match="a run without a model yet"):
        resolve_model(str(tmp_path / "run"))


def test_a_folder_of_runs_names_them(run):
    with pytest.raises(FIPOError, match=r"there are runs in it: .*first"):
        resolve_model(str(run.path.parent))


def test_a_mistyped_folder_brings_the_nearest_one(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FIPOError, match=r"does not exist \(did you mean 'runs/first'\?\)"):
        resolve_model("runs/frist")
    with pytest.raises(FIPOError, match="did you mean 'arithmetic-base'"):
        resolve_model("arithmetc-base")
    (tmp_path / "file").touch()
    with pytest.raises(FIPOError, match="is not a folder"):
        resolve_model("file")


def test_an_empty_folder_holds_no_model(tmp_path):
    with pytest.raises(FIPOError, match=r"holds no model: it has no config\.json"):
        resolve_model(str(tmp_path))


def test_the_fingerprint_follows_the_weights(tmp_path):
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch", reason="weights are safetensors")
    copy = tmp_path / "copy"
    shutil.copytree(base_model_path(), copy)
    assert fingerprint(str(copy)) == fingerprint(str(base_model_path()))
    weights = safetensors.load_file(copy / "model.safetensors")
    name = sorted(weights)[0]
    weights[name] = weights[name] + torch.finfo(weights[name].dtype).eps * 8
    safetensors.save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint(str(copy)) != fingerprint(str(base_model_path()))
    assert fingerprint("Qwen/Qwen2.5-0.5B") is None


def test_the_fingerprint_of_a_large_file_sees_its_middle(tmp_path, monkeypatch):
    monkeypatch.setattr("fipo.models._FINGERPRINT_WHOLE", 1000)
    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(10_000_000))
    before = fingerprint(str(tmp_path))
    with open(file, "r+b") as stream:
        stream.seek(5_000_000)
        stream.write(b"x" * 20_000)
    assert fingerprint(str(tmp_path)) != before
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    template = fingerprint(str(tmp_path))
    (tmp_path / "chat_template.jinja").write_text("{{ other }}")
    assert fingerprint(str(tmp_path)) != template


def test_the_fingerprint_of_an_adapter_covers_its_base(tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    shutil.copytree(base_model_path(), base)
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(f'{{"base_model_name_or_path": "{base}"}}')
    before = fingerprint(str(adapter))
    (base / "config.json").write_text("{}")
    assert fingerprint(str(adapter)) != before


def test_an_adapter_is_loaded_on_its_base_with_the_tokenizer_of_the_base(tmp_path):
    peft = pytest.importorskip("peft", reason="adapters need the extra [lora]")
    transformers = pytest.importorskip("transformers", reason="models need the extra [eval]")
    base = transformers.AutoModelForCausalLM.from_pretrained(base_model_path())
    settings = peft.LoraConfig(r=2, task_type="CAUSAL_LM", init_lora_weights=False)
    peft.get_peft_model(base, settings).save_pretrained(tmp_path)
    model = load_model(resolve_model(str(tmp_path)))
    assert any("lora" in name for name, _ in model.named_parameters())
    tokenizer = load_tokenizer(resolve_model(str(tmp_path)))
    assert len(tokenizer) == len(load_tokenizer(str(base_model_path())))


def test_a_model_without_some_of_its_weights_is_refused(tmp_path):
    pytest.importorskip("transformers", reason="models need the extra [eval]")
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(base_model_path(), copy)
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if "mlp" in name)
    del weights[name]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FIPOError, match=f"lacks 1 of its weights .{name}"):
        load_model(str(copy))


def test_what_cannot_be_loaded_is_one_line(tmp_path):
    pytest.importorskip("transformers", reason="models need the extra [train]")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FIPOError, match="cannot load the tokenizer of model folder"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(FIPOError, match="cannot load model folder"):
        load_model(str(tmp_path))


def test_weights_that_would_have_to_be_unpickled_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers", reason="models need the extra [train]")
    copy = tmp_path / "pickled"
    shutil.copytree(base_model_path(), copy)
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(FIPOError, match="cannot load model folder"):
        load_model(str(copy))


def test_an_unknown_hub_model_brings_the_nearest_downloaded_one(monkeypatch):
    transformers = pytest.importorskip("transformers", reason="models need the extra [train]")

    def refuse(*args, **kwargs):
        raise OSError("Qwen/Qwen2.5-05B is not a valid model identifier\nmore lines")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", refuse)
    monkeypatch.setattr("fipo.models._cached_models", lambda: ["Qwen/Qwen2.5-0.5B", "Qwen/Qwen3-4B-Base"])
    with pytest.raises(
        FIPOError, match=r"did you mean 'Qwen/Qwen2\.5-0\.5B'.*check the name and the network"
    ) as caught:
        load_tokenizer("Qwen/Qwen2.5-05B")
    assert "\n" not in str(caught.value)
