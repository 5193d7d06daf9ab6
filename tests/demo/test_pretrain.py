from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fipo.demo import pretrain
from fipo.tasks.arithmetic import build_tokenizer
from fipo.tasks.arithmetic.corpus import TRUE_MIXTURE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrain") / "model"
    pretrain.write_base(out, updates=5, seed=3, threads=1, held_out=8)
    return out


def test_a_short_run_writes_a_folder_that_loads(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("2 a +3 b +6 c -5 ?", return_tensors="pt")["input_ids"]
    assert model(ids).logits.shape == (1, 8, 54)
    assert model.config.eos_token_id == tokenizer.eos_token_id == model.generation_config.eos_token_id
    assert all(str(folder.parent).encode() not in path.read_bytes() for path in folder.iterdir())


def test_the_card_names_the_command_that_was_run(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    assert "--out DIR --updates 5 --seed 3 --threads 1" in card
    assert "8 held-out problems" in card
    assert torch.__version__.split("+")[0] in card
    assert "{" not in card


def test_training_lowers_the_loss_and_follows_the_seed() -> None:
    model, summary = pretrain.train_base(25, seed=1)
    again, _ = pretrain.train_base(25, seed=1)
    other, _ = pretrain.train_base(1, seed=2)
    first, _ = pretrain.train_base(1, seed=1)
    assert summary.loss < 3.7
    assert summary.updates == 25
    assert summary.tokens > 25 * 48 * 5
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_chunks_hold_one_update_and_train_on_responses_only() -> None:
    tokenizer = build_tokenizer()
    chunks = pretrain.sample_batch(random.Random(0), TRUE_MIXTURE, tokenizer.get_vocab(), tokenizer.pad_token_id)
    assert sum(len(ids) for ids, _ in chunks) == pretrain.DOCUMENTS_PER_UPDATE
    for ids, labels in chunks:
        for row, targets in zip(ids, labels, strict=True):
            text = tokenizer.decode([token for token in row.tolist() if token != tokenizer.pad_token_id])
            prompt, response = text.split("?")
            trained = targets != -100
            assert torch.equal(row[trained], targets[trained])
            assert tokenizer.decode(row[trained]) == response.strip()
            assert not trained[: len(prompt.split()) + 1].any()


def test_chunked_gradient_is_that_of_the_whole_update() -> None:
    torch.manual_seed(0)
    tokenizer, model = build_tokenizer(), pretrain.build_model()
    pad = tokenizer.pad_token_id
    chunks = pretrain.sample_batch(random.Random(0), TRUE_MIXTURE, tokenizer.get_vocab(), pad)
    loss = pretrain._backward(model, chunks)
    chunked = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    width = max(ids.shape[1] for ids, _ in chunks)
    ids, labels = (
        torch.cat([torch.nn.functional.pad(t, (0, width - t.shape[1]), value=value) for t in tensors])
        for tensors, value in zip(zip(*chunks, strict=True), (pad, -100), strict=True)
    )
    whole = model(input_ids=ids, labels=labels, attention_mask=(ids != pad).long()).loss
    whole.backward()
    assert loss == pytest.approx(whole.item(), rel=1e-5)
    for parameter, expected in zip(model.parameters(), chunked, strict=True):
        assert torch.allclose(parameter.grad, expected, atol=1e-6)


def test_curriculum_stages_follow_the_length_of_the_run() -> None:
    stages = [pretrain.mixture_at(update, 1000) for update in (0, 449, 450, 599, 600, 849, 850, 999)]
    assert [stage.one_operation > 0 for stage in stages] == [True] * 4 + [False] * 4
    assert [stage.direct for stage in stages] == [0, 0, 0, 0, 0.3, 0.3, 0.7, 0.7]
    assert stages[-1] is TRUE_MIXTURE
    assert pretrain.mixture_at(0, 1) is stages[0]


def test_learning_rate_rises_then_falls() -> None:
    factors = [pretrain.learning_rate_factor(update, 2010) for update in range(2010)]
    assert factors[:51] == sorted(factors[:51])
    assert factors[50:] == sorted(factors[50:], reverse=True)
    assert max(factors) == 1.0
    assert factors[-1] < 1e-4
    assert 0 < pretrain.learning_rate_factor(0, 1) <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--updates", "5"], "--out"),
        (["--out", "new", "--updates", "0"], "--updates 0"),
        (["--out", "new", "--updates", "many"], "many"),
        (["--out", "new", "--threads", "0"], "--threads 0"),
        (["--out", "new", "--seed", "-1"], "--seed -1"),
        (["--out", "full"], "not empty"),
        (["--out", "file"], "is a file"),
        (["--out", "file/new"], "cannot be made"),
    ],
)
def test_mistakes_give_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "file").touch()
    assert pretrain.main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "new").exists()
