"""A whole evaluation: what is written, what the numbers are, and that nothing is lost or sampled twice."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("datasets", reason="reading data needs the extra [train]")
pytest.importorskip("transformers", reason="sampling needs the extra [train]")

from fipo.errors import FIPOError
from fipo.evaluation.engines.base import Response
from fipo.evaluation.records import load_records
from fipo.evaluation.run import evaluate, settings_of
from fipo.evaluation.settings import EvalSettings, Runtime
from fipo.runs import EvaluationFolder
from fipo.tasks.arithmetic import base_model_path
from tests.evaluation.fake_engine import FakeEngine

EMBEDDED = EvalSettings("arithmetic-base", ("arithmetic",), n=3, limit=10, top_p=1.0)


class Counter:
    """Notes progress; may interrupt after so many responses."""

    def __init__(self, stop_after=None, error=KeyboardInterrupt):
        self.stop_after, self.error, self.rows, self.begun = stop_after, error, [], None

    def begin(self, engine, max_tokens, done, total):
        self.begun = (done, total)

    def estimate(self):
        self.estimated = True

    def advance(self, rows):
        self.rows += rows
        if self.stop_after is not None and len(self.rows) >= self.stop_after:
            raise self.error


def rows(out):
    return sorted(EvaluationFolder.open(out).responses(), key=lambda row: (row["data"], row["id"], row["sample"]))


@pytest.fixture
def mine(tmp_path):
    """Two problems of a file: 2 + 2 and 3 + 3."""
    path = tmp_path / "mine.jsonl"
    problems = [{"id": "four", "problem": "2 + 2", "answer": "4"}, {"id": "six", "problem": "3 + 3", "answer": "6"}]
    path.write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    return path


@pytest.fixture
def use(monkeypatch):
    """Puts an engine in the place of the real one."""

    def put(engine):
        monkeypatch.setattr("fipo.evaluation.run.open_engine", lambda *args: engine)
        return engine

    return put


def fake_settings(path, **values):
    return EvalSettings(**{"model": "arithmetic-base", "data": (str(path),), "n": 4, **values})


def test_every_response_is_on_disk_with_its_verdict(tmp_path):
    counter = Counter()
    summary = evaluate(EMBEDDED, tmp_path / "out", progress=counter)
    found = rows(tmp_path / "out")
    assert counter.begun == (0, 30)
    assert len(found) == len(counter.rows) == 30
    assert {(row["id"], row["sample"]) for row in found} == {
        (row["id"], sample) for row in found for sample in range(3)
    }
    for row in found:
        assert row["correct"] == (row["extracted"] == row["answer"])
        assert row["length"] >= 1
        assert row["prompt"] == row["id"]
    assert len({row["seed"] for row in found}) == 30
    figures = summary["benchmarks"]["arithmetic"]
    assert figures["avg"]["value"] == pytest.approx(np.mean([row["correct"] for row in found]))
    assert figures["length"]["mean"] == pytest.approx(np.mean([row["length"] for row in found]))
    assert (figures["problems"], figures["samples"]) == (10, 3)
    assert sum(figures["verdicts"].values()) == sum(figures["finish_reasons"].values()) == 30
    folder = EvaluationFolder.open(tmp_path / "out")
    assert folder.status() == "finished"
    assert folder.read_json("summary.json") == json.loads(json.dumps(summary))
    assert folder.read_json("engine.json")["name"] == summary["engine"] == "transformers"
    assert "python" in folder.read_json("environment.json")


@pytest.mark.parametrize("stop_after", [1, 7, 29])
def test_an_interrupted_evaluation_goes_on_without_sampling_anything_twice(tmp_path, stop_after):
    evaluate(EMBEDDED, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        evaluate(EMBEDDED, tmp_path / "cut", progress=Counter(stop_after))
    folder = EvaluationFolder.open(tmp_path / "cut")
    kept = list(folder.responses())
    assert stop_after <= len(kept) < 30
    assert folder.status() == "interrupted"
    again = Counter()
    evaluate(settings_of(tmp_path / "cut"), tmp_path / "cut", progress=again, runtime=Runtime(batch_size=2))
    assert again.begun == (len(kept), 30)
    assert len(again.rows) == 30 - len(kept)
    assert list(folder.responses())[: len(kept)] == kept
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert folder.status() == "finished"


def test_a_finished_evaluation_is_only_summarised_again(tmp_path, use):
    first = evaluate(EMBEDDED, tmp_path / "out")
    use(None)
    assert evaluate(EMBEDDED, tmp_path / "out") == first
    few = evaluate(EMBEDDED, tmp_path / "out", counts=(2,))
    assert list(few["benchmarks"]["arithmetic"]["pass"]) == ["2", "3"]


def test_other_settings_or_another_model_are_refused_with_the_difference(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(base_model_path(), model)
    settings = EvalSettings(str(model), ("arithmetic",), n=1, limit=2)
    evaluate(settings, tmp_path / "out")
    with pytest.raises(FIPOError, match=r"seed is 0 there and 1 now"):
        evaluate(EvalSettings(str(model), ("arithmetic",), n=1, limit=2, seed=1), tmp_path / "out")
    (model / "generation_config.json").write_text("{}")
    with pytest.raises(FIPOError, match="model_fingerprint is"):
        evaluate(settings, tmp_path / "out")


def test_a_failure_is_noted_and_keeps_what_was_there(tmp_path):
    with pytest.raises(RuntimeError):
        evaluate(EMBEDDED, tmp_path / "out", progress=Counter(4, RuntimeError("broken")))
    folder = EvaluationFolder.open(tmp_path / "out")
    assert folder.read_json("run.json")["error"] == "RuntimeError: broken"
    assert folder.status() == "failed"
    assert len(list(folder.responses())) >= 4


def test_a_model_that_does_not_load_leaves_no_folder(tmp_path):
    with pytest.raises(FIPOError, match="does not exist"):
        evaluate(EvalSettings("nowhere", ("arithmetic",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_numbers_of_known_responses(tmp_path, mine, use):
    """Four: 4, 4, 5, none. Six: 7, 7, 6 truncated, 6.0."""
    texts = {
        "2 + 2": ["Answer: 4", "Answer: 4", "Answer: 5", "I give up"],
        "3 + 3": ["Answer: 7", "\\boxed{7}", "Answer: 6", "Answer: 6.0"],
    }
    said = {problem: iter(answers) for problem, answers in texts.items()}

    def answer(prompt, seed):
        text = next(said["2 + 2" if "2 + 2" in prompt else "3 + 3"])
        return Response(text, len(text), "length" if text == "Answer: 6" else "stop")

    engine = use(FakeEngine(answer))
    figures = evaluate(fake_settings(mine), tmp_path / "out")["benchmarks"]["mine"]
    assert engine.closed
    assert figures["avg"]["value"] == 0.5
    # Four wins its vote; six ties with seven.
    assert figures["majority"]["4"]["value"] == pytest.approx((1 + 0.5) / 2)
    assert figures["pass"]["1"]["value"] == 0.5
    assert figures["pass"]["2"]["value"] == pytest.approx(1 - 1 / 6)
    assert figures["pass"]["4"]["value"] == 1
    assert figures["truncated"] == {"responses": 1, "correct": 1}
    assert figures["no_answer"] == 1
    assert figures["length"]["min"] == 9
    assert figures["length"]["truncated"] == pytest.approx(1 / 8)
    assert figures["finish_reasons"] == {"stop": 7, "length": 1}


def test_equal_answers_in_other_words_vote_together(tmp_path, use):
    path = tmp_path / "half.jsonl"
    path.write_text(json.dumps({"problem": "half", "answer": "3"}) + "\n")
    said = iter([r"\boxed{\frac12}", r"\boxed{0.5}", r"\boxed{1/2}", r"\boxed{3}", r"\boxed{3}"])
    use(FakeEngine(lambda prompt, seed: Response(next(said), 3)))
    figures = evaluate(fake_settings(path, n=5), tmp_path / "out")["benchmarks"]["half"]
    assert figures["majority"]["5"]["value"] == 0


def test_answers_are_grouped_once_and_again_only_when_they_change(tmp_path, mine, use, monkeypatch):
    use(FakeEngine(lambda prompt, seed: Response("Answer: 4", 3)))
    first = evaluate(fake_settings(mine), tmp_path / "out")
    votes = tmp_path / "out" / "votes.json"
    whole = votes.read_text()

    def refuse(answers):
        raise AssertionError("grouped again")

    with monkeypatch.context() as patch:
        patch.setattr("fipo.evaluation.summary.group_answers", refuse)
        assert evaluate(fake_settings(mine), tmp_path / "out") == first
    for broken in ("{", "[]", '{"digest": "other"}'):
        votes.write_text(broken)
        assert evaluate(fake_settings(mine), tmp_path / "out") == first
        assert votes.read_text() == whole


def test_one_response_per_problem_has_a_summary_too(tmp_path, mine, use):
    use(FakeEngine(lambda prompt, seed: Response("Answer: 4", 3)))
    figures = evaluate(fake_settings(mine, n=1), tmp_path / "out")["benchmarks"]["mine"]
    assert figures["avg"]["value"] == 0.5
    assert figures["avg_if_repeated"] is None


def test_two_data_sets_are_graded_each_in_its_way(tmp_path, mine, use):
    use(FakeEngine(lambda prompt, seed: Response("so 4. Answer: 4", 5)))
    summary = evaluate(EvalSettings("arithmetic-base", (str(mine), "arithmetic"), n=1, limit=2), tmp_path / "out")
    assert list(summary["benchmarks"]) == ["mine", "arithmetic"]
    assert summary["benchmarks"]["mine"]["avg"]["value"] == 0.5
    assert {row["extracted"] for row in rows(tmp_path / "out")} == {"4"}


def test_samples_come_round_by_round_so_that_an_early_stop_covers_all_problems(tmp_path, mine, use):
    engine = use(FakeEngine(lambda prompt, seed: Response("Answer: 4", 3)))
    evaluate(fake_settings(mine, prompt_style="raw"), tmp_path / "out")
    assert [request.prompt for request in engine.asked] == ["2 + 2", "3 + 3"] * 4


def test_the_length_limit_fits_the_context(tmp_path, mine, use):
    def engine(**context):
        return use(FakeEngine(lambda prompt, seed: Response("Answer: 4", 3), **context))

    fitting = engine(context_length=100)
    evaluate(fake_settings(mine, prompt_style="raw"), tmp_path / "fits")
    assert fitting.limits == [97]
    long = engine(context_length=100_000)
    evaluate(fake_settings(mine), tmp_path / "long")
    assert long.limits == [20_480]
    unknown = engine(context_length=None)
    evaluate(fake_settings(mine, max_tokens=7), tmp_path / "unknown")
    assert unknown.limits == [7]
    engine(context_length=100)
    with pytest.raises(FIPOError, match=r"--max-tokens 98 after a prompt of 3 tokens .* of 100: give at most 97"):
        evaluate(fake_settings(mine, prompt_style="raw", max_tokens=98), tmp_path / "no")
    engine(context_length=3)
    with pytest.raises(FIPOError, match="the prompt of problem four has 3 tokens, but the model's context is 3"):
        evaluate(fake_settings(mine, prompt_style="raw"), tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_the_limit_chosen_at_first_stays_when_an_evaluation_is_continued(tmp_path, mine, use):
    use(FakeEngine(lambda prompt, seed: Response("Answer: 4", 3), context_length=100))
    with pytest.raises(KeyboardInterrupt):
        evaluate(fake_settings(mine, prompt_style="raw"), tmp_path / "out", progress=Counter(1))
    other = use(FakeEngine(lambda prompt, seed: Response("Answer: 4", 3), context_length=50))
    evaluate(fake_settings(mine, prompt_style="raw"), tmp_path / "out")
    assert other.limits == [97]


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path, mine, use):
    use(FakeEngine(lambda prompt, seed: Response("Answer: 4", 3)))
    model = tmp_path / "model"
    shutil.copytree(base_model_path(), model)
    before = {file.name: file.read_bytes() for file in model.iterdir()}
    with pytest.raises(FIPOError, match="is not empty and holds no run"):
        evaluate(fake_settings(mine), model)
    assert {file.name: file.read_bytes() for file in model.iterdir()} == before
    evaluate(fake_settings(mine), tmp_path / "out")
    (tmp_path / "out" / "run.json").unlink()
    with pytest.raises(FIPOError, match="holds no run"):
        evaluate(fake_settings(mine, seed=9), tmp_path / "out")


def test_whoever_began_first_in_a_folder_keeps_it(tmp_path, mine, use):
    """Two processes start at once with other settings; both find an empty folder."""

    class Slow(FakeEngine):
        def prompt_lengths(self, prompts):
            use(FakeEngine(lambda prompt, seed: Response("Answer: 4", 3)))
            evaluate(fake_settings(mine, seed=1), tmp_path / "out")
            return super().prompt_lengths(prompts)

    late = use(Slow(lambda prompt, seed: Response("Answer: 6", 3)))
    with pytest.raises(FIPOError, match="seed is 1 there and 2 now"):
        evaluate(fake_settings(mine, seed=2), tmp_path / "out")
    assert late.asked == []
    assert settings_of(tmp_path / "out").seed == 1


def test_what_an_evaluation_was_continued_with_is_noted(tmp_path, mine, use):
    use(FakeEngine(lambda prompt, seed: Response("Answer: 4", 3)))
    with pytest.raises(KeyboardInterrupt):
        evaluate(fake_settings(mine), tmp_path / "out", progress=Counter(1))
    other = use(FakeEngine(lambda prompt, seed: Response("Answer: 4", 3)))
    other.describe = lambda: {"version": "1", "dtype": "float32"}
    evaluate(fake_settings(mine), tmp_path / "out")
    noted = EvaluationFolder.open(tmp_path / "out").engine()
    assert (noted["version"], [entry["version"] for entry in noted["continued"]]) == ("0", ["1"])


def test_an_evaluation_without_responses_leaves_nothing_of_its_engine(tmp_path, mine, use):
    """One that was cut off before its first response, then begun again in another way."""

    def cut(prompt, seed):
        raise KeyboardInterrupt

    served = use(FakeEngine(cut, context_length=None))
    served.name = "server"
    with pytest.raises(KeyboardInterrupt):
        evaluate(fake_settings(mine, max_tokens=9), tmp_path / "out", runtime=Runtime(base_url="http://host/v1"))
    use(FakeEngine(lambda prompt, seed: Response("Answer: 4", 3)))
    summary = evaluate(fake_settings(mine, max_tokens=50), tmp_path / "out")
    assert (summary["engine"], summary["sampling"]["max_tokens"]) == ("transformers", 50)
    folder = EvaluationFolder.open(tmp_path / "out")
    assert folder.config()["model_fingerprint"] is not None
    assert "continued" not in folder.engine()


def test_an_evaluation_of_a_server_is_shown_without_it_and_continued_with_it(tmp_path, mine, use):
    engine = FakeEngine(lambda prompt, seed: Response("Answer: 4", 3), context_length=None)
    engine.name = "server"
    use(engine)
    settings, served = fake_settings(mine, model="served-name"), Runtime(base_url="http://host/v1")
    with pytest.raises(KeyboardInterrupt):
        evaluate(settings, tmp_path / "out", runtime=served, progress=Counter(1))
    with pytest.raises(FIPOError, match="needs the address of the server: --base-url"):
        evaluate(settings_of(tmp_path / "out"), tmp_path / "out")
    summary = evaluate(settings, tmp_path / "out", runtime=served)
    assert evaluate(settings_of(tmp_path / "out"), tmp_path / "out") == summary


def test_a_server_that_counts_prompts_itself_leaves_room_for_them(tmp_path, mine, use):
    engine = use(FakeEngine(lambda prompt, seed: Response("Answer: 4", 3), context_length=4096))
    engine.prompt_lengths = lambda prompts: None
    evaluate(fake_settings(mine), tmp_path / "out")
    assert engine.limits == [2048]
    with pytest.raises(FIPOError, match="more than the server's context of 4096"):
        evaluate(fake_settings(mine, max_tokens=4096), tmp_path / "other")


@pytest.mark.parametrize(
    ("runtime", "values", "option"),
    [
        (Runtime(tensor_parallel=2), {"engine": "transformers"}, "--tensor-parallel"),
        (Runtime(device="cpu", base_url="http://host/v1"), {}, "--device"),
        (Runtime(base_url="http://host/v1"), {"dtype": "float16"}, "--dtype"),
    ],
)
def test_an_option_without_effect_is_refused(tmp_path, mine, runtime, values, option):
    with pytest.raises(FIPOError, match=f"{option} has no effect with the engine"):
        evaluate(fake_settings(mine, **values), tmp_path / "out", runtime=runtime)


def test_two_processes_do_not_write_one_evaluation(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        evaluate(EMBEDDED, tmp_path / "out", progress=Counter(1))
    with (
        EvaluationFolder.open(tmp_path / "out").writer(),
        pytest.raises(FIPOError, match="is being written by another process"),
    ):
        evaluate(EMBEDDED, tmp_path / "out")


def test_a_folder_with_a_response_twice_or_of_something_else_is_refused(tmp_path):
    evaluate(EMBEDDED, tmp_path / "out")
    folder = EvaluationFolder.open(tmp_path / "out")
    first = next(iter(folder.responses()))
    folder.append("responses.jsonl", [first])
    with pytest.raises(FIPOError, match=r"responses\.jsonl, line 31: sample \d of problem .* stands there twice"):
        evaluate(EMBEDDED, tmp_path / "out")
    (tmp_path / "out" / "responses.jsonl").write_text(json.dumps({**first, "data": "other"}) + "\n")
    with pytest.raises(FIPOError, match="line 1: no response of this evaluation"):
        load_records(folder)
    (tmp_path / "out" / "responses.jsonl").write_text(json.dumps({**first, "sample": 3}) + "\n")
    with pytest.raises(FIPOError, match="line 1: no response of this evaluation"):
        load_records(folder)
    foreign = [json.dumps({**first, "id": str(number)}) + "\n" for number in range(11)]
    (tmp_path / "out" / "responses.jsonl").write_text("".join(foreign))
    with pytest.raises(FIPOError, match="has 11 problems of arithmetic, and the evaluation 10"):
        load_records(folder)


@pytest.mark.parametrize(
    ("key", "value"), [("n", "4"), ("n", True), ("data", "arithmetic"), ("top_p", None), ("limit", 1.5), ("model", 3)]
)
def test_broken_settings_name_their_key(tmp_path, mine, use, key, value):
    use(FakeEngine(lambda prompt, seed: Response("Answer: 4", 3)))
    evaluate(fake_settings(mine), tmp_path / "out")
    folder = EvaluationFolder.open(tmp_path / "out")
    folder.write_json("config.json", {**folder.config(), key: value})
    with pytest.raises(FIPOError, match=key):
        settings_of(tmp_path / "out")
