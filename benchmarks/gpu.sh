#!/usr/bin/env bash
# How fast is this GPU? A table in Markdown: graph and XLA, in float32, TF32 and bfloat16. Without a GPU: "not measured".
# bash benchmarks/gpu.sh [--batch_size=64] [--num_images=256] [--repeats=10]
set -eu
cd "$(dirname "$0")/.."
export TF_CPP_MIN_LOG_LEVEL=3
python="${PYTHON:-python}"
found=$("$python" -c 'import tensorflow as tf; print(len(tf.config.list_physical_devices("GPU")))' 2> /dev/null)
if [ "$found" = 0 ]; then
    echo "not measured: TensorFlow finds no GPU here"
    exit 0
fi
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
"$python" -c 'import keras, tensorflow as tf; print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}")' 2> /dev/null
date -u +%F
echo "| compiler | precision | training images/s | chain steps/s | AutoAttack images/s |"
echo "|---|---|---|---|---|"
for compiler in graph xla; do
    for precision in float32 tf32 bfloat16; do
        PYTHONPATH=. "$python" benchmarks/gpu.py --compiler=$compiler --precision=$precision "$@" 2> /dev/null \
            || echo "| $compiler | $precision | failed | failed | failed |"
    done
done
