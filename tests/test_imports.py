"""The direction of imports: a module imports only from those listed above it."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1] / "jeat_tf"
ORDER = [
    "types", "seeds", "energy", "norms", "loops", "units", "shards", "pictures", "artifacts", "data", "models",
    "attacks", "samplers", "methods", "evaluation", "figures", "config", "build", "generation", "training_images",
    "trained", "drawing", "stored_samples", "sample_report", "results_board", "reporting", "measure_generation",
    "measure", "paper_figures", "attacking", "cli", "prepare", "train", "evaluate", "sample", "draw", "report",
]  # fmt: skip


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "jeat_tf":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"relative import in {path}")


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_from_rooms_above(path):
    if room(path) == "__init__":
        return
    here = ORDER.index(room(path))
    for name in imported(path):
        assert ORDER.index(name) <= here, f"{room(path)} imports {name}"


def test_the_list_above_is_complete():
    assert {room(p) for p in ROOT.rglob("*.py")} - {"__init__"} == set(ORDER)


def test_tensorflow_probability_stays_out_of_the_training_path():
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text())
        top = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
        assert not any("tensorflow_probability" in ast.unparse(n) for n in top), path


def test_all_that_is_public_exists_and_is_documented():
    import jeat_tf

    for name in jeat_tf.__all__:
        assert getattr(jeat_tf, name).__doc__, name
