"""What the wheel and the source distribution hold, as built from the files under version control."""

import os
import pathlib
import subprocess
import sys
import tarfile
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
BUILD = "from setuptools import build_meta as b; b.build_sdist({0!r}); b.build_wheel({0!r})"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder of both, built in a copy: a build leaves folders beside the code."""
    folder, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("needs the files under version control")
    for name in filter(None, listed.stdout.split("\0")):
        if name.startswith((".git", "tests/data")) or not (ROOT / name).is_file():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    environment = os.environ | {"JEAT_TF_REPOSITORY": "https://example.org/jeat_tf/"}
    command = [sys.executable, "-c", BUILD.format(str(out))]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


@pytest.fixture(scope="module")
def wheel(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        yield archive


def test_the_wheel_installs_one_package_with_the_pipeline_presets_and_types(wheel):
    names = set(wheel.namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"jeat_tf"}
    modules = {f"jeat_tf/components/{path.name}" for path in (ROOT / "components").glob("*.py")}
    presets = {f"jeat_tf/presets/{path.relative_to(ROOT / 'configs')}" for path in (ROOT / "configs").glob("*/*.flags")}
    assert modules | presets | {"jeat_tf/py.typed", "jeat_tf/__init__.pyi", "jeat_tf/report/page.html"} <= names


def test_the_pipeline_of_the_wheel_imports_nothing_of_another_name(wheel):
    for name in wheel.namelist():
        if name.startswith("jeat_tf/components/") and name.endswith(".py"):
            text = wheel.read(name).decode()
            assert "from components" not in text, name
            assert "import components" not in text, name


def test_the_page_of_a_package_index_has_no_dead_links(wheel):
    metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith("METADATA"))).decode()
    head, _, body = metadata.partition("\n\n")
    assert "Project-URL: Source, https://example.org/jeat_tf\n" in head
    assert "Classifier: Typing :: Typed" in head
    assert "](https://example.org/jeat_tf/raw/main/docs/mnist.png)" in body
    assert "](https://example.org/jeat_tf/blob/main/docs/results.md)" in body
    assert "](docs/" not in body
    entries = wheel.read(next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))).decode()
    assert "jeat_tf = jeat_tf.__main__:main" in entries


def test_the_source_distribution_holds_what_a_clone_does(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in (
        *("components/run.py", "configs/digits/jeat.flags", "constraints.txt", "Makefile", "Dockerfile", "LICENSE"),
        *("docs/guide/train.md", "docs/mnist.png", "tests/test_package.py", "examples/quickstart.py", "mkdocs.yml"),
        *("CHANGELOG.md", "CITATION.cff", "benchmarks/methods.py", "jeat_tf/report/page.css"),
    ):
        assert name in names, name


def test_the_image_is_built_of_all_that_the_package_is_made_of():
    copied = (ROOT / "Dockerfile").read_text()
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    for folder in ("jeat_tf", "components", "configs"):
        assert f"COPY {folder} ./{folder}" in copied
        assert f"!{folder}" in kept
