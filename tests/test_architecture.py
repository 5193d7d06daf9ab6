"""The floors of the house: who may import whom, and that the docs say what the code does."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "fipo"
BELOW = {
    "errors": set(),
    "objective": set(),
    "runs": {"errors"},
    "tasks": {"errors"},
    "models": {"errors", "runs", "tasks"},
    "training": {"errors", "models", "objective", "runs", "tasks"},
    "evaluation": {"errors", "models", "runs", "tasks"},
    "report": {"errors", "runs"},
    "demo": {"errors", "models", "objective", "runs", "tasks", "training", "evaluation", "report"},
}
BELOW["cli"] = {*BELOW, "__version__"}
HEAVY = {
    "trl",
    "transformers",
    "datasets",
    "accelerate",
    "matplotlib",
    "math_verify",
    "peft",
    "vllm",
    "openai",
    "pyarrow",
    "pandas",
}


def imports(file: Path) -> set[str]:
    """Names imported anywhere in a file, with `fipo.floor` cut to two parts."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} if node.module != "fipo" else {f"fipo.{alias.name}" for alias in node.names}
    return {".".join(name.split(".")[:2]) if name.startswith("fipo") else name.split(".")[0] for name in names}


@pytest.mark.parametrize("floor", sorted(BELOW))
def test_a_floor_imports_only_from_below(floor):
    one_file = PACKAGE / f"{floor}.py"
    files = [one_file] if one_file.is_file() else sorted((PACKAGE / floor).rglob("*.py"))
    assert files
    allowed = {f"fipo.{name}" for name in BELOW[floor] | {floor}}
    for file in files:
        used = {name for name in imports(file) if name.startswith("fipo")}
        assert used <= allowed, f"{file.relative_to(ROOT)} imports {used - allowed}"


def test_the_objective_imports_torch_alone():
    for file in (PACKAGE / "objective").rglob("*.py"):
        outside = {name for name in imports(file) if not name.startswith("fipo.objective")}
        assert not outside & HEAVY
        third_party = {n for n in outside if n not in {"torch"} and "site-packages" in str(origin(n))}
        assert not third_party, f"{file.name} imports {third_party}"


def origin(name: str) -> str | None:
    spec = importlib.util.find_spec(name)
    return spec.origin if spec else None


def test_files_stay_readable():
    for file in PACKAGE.rglob("*.py"):
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 330, file.relative_to(ROOT)


def test_links_in_the_docs_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "recipes").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_every_setting_is_documented():
    import dataclasses

    from fipo import FIPOLossConfig

    page = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(FIPOLossConfig):
        assert f"`{field.name}`" in page


def test_every_setting_of_the_trainer_is_documented():
    pytest.importorskip("trl", reason="the trainer needs the extra [train]")
    from fipo.training import FIPOTrainingConfig

    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for name in FIPOTrainingConfig.__annotations__:
        if not name.startswith("_") and name not in STANDARD:
            assert f"`{name}`" in page, name


# Fields of transformers' TrainingArguments whose default alone is changed.
STANDARD = {
    "learning_rate",
    "lr_scheduler_type",
    "weight_decay",
    "max_grad_norm",
    "gradient_checkpointing",
    "report_to",
    "bf16",
    "max_steps",
}


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("script", "page", "table"),
    [("update_results", "README.md", "results_table"), ("update_coverage", "docs/evaluation.md", "coverage_table")],
)
def test_the_pages_show_the_committed_results(script, page, table):
    module = load_script(script)
    shown = (ROOT / page).read_text(encoding="utf-8").split(module.BEGIN)[1].split(module.END)[0]
    assert shown == getattr(module, table)(json.loads(module.RESULTS.read_text(encoding="utf-8")))


def test_nothing_names_a_machine():
    telling = re.compile(r"/(?:root|home|work|Users|mnt)/|[A-Za-z]:\\\\Users")
    for folder in ("src", "docs", "recipes", "tests", "benchmarks"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in {".py", ".md", ".json", ".yaml", ".svg", ".toml"} and file.name != Path(__file__).name:
                text = file.read_text(encoding="utf-8")
                found = telling.search(text)
                assert found is None or file.name == "test_base_model.py", f"{file.relative_to(ROOT)}: {found}"
