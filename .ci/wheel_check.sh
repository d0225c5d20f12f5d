#!/usr/bin/env bash
# Builds the wheel, installs it in an empty environment, and uses it from an empty folder as a stranger would.
set -eu
unset PYTHONPATH # a tree on it would count as installed
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
# From the files under version control alone: what an earlier build has left would be packed too.
mkdir "$work/source"
(cd "$root" && git ls-files -z | tar --create --null --files-from=- | tar --extract --directory "$work/source")
"$work/venv/bin/python" -m pip wheel --quiet --no-deps --wheel-dir "$work" "$work/source"
rm -rf "$work/source"
"$work/venv/bin/python" -m pip install --quiet --no-compile -c "$root/constraints.txt" "$work"/jeat_tf-*.whl
cd "$work"
"$work/venv/bin/python" -m pip check
"$work/venv/bin/jeat_tf" --version
"$work/venv/bin/jeat_tf" list presets
"$work/venv/bin/jeat_tf" train --preset=digits/jeat --epochs=1 --robust_every=0 --model_dir=run
"$work/venv/bin/jeat_tf" evaluate --model=run --attacks=clean,pgd10 --num_images=50
"$work/venv/bin/python" "$root/examples/quickstart.py"
# A folder of that name, as other projects have it, is in nobody's way.
mkdir components
echo 'raise ImportError("the components of another project")' > components/__init__.py
"$work/venv/bin/python" -m jeat_tf.components.run --help > /dev/null
"$work/venv/bin/jeat_tf" reproduce --table=jeat-table2 --scale=digits --output_dir=reproduced --dry_run
echo "wheel: $(ls "$work"/*.whl | xargs -n 1 basename) works"
