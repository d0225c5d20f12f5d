"""What is imported when; the direction of imports is import-linter's, in pyproject.toml."""

import ast
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1] / "jeat_tf"


def test_the_package_itself_imports_neither_tensorflow_nor_data_sets():
    heavy = "tensorflow", "keras", "tensorflow_datasets", "sklearn", "matplotlib"
    code = f"import jeat_tf, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert done.stdout.strip() == "[]"


def test_tensorflow_probability_stays_out_of_the_training_path():
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text())
        top = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
        assert not any("tensorflow_probability" in ast.unparse(n) for n in top), path


def test_all_that_is_public_exists_and_is_documented():
    import jeat_tf

    for name in jeat_tf.__all__:
        assert getattr(jeat_tf, name).__doc__, name
