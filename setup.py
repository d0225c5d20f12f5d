"""Packaging: ranges here, the exact tested set in constraints.txt."""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

# Address of the published repository, for whoever publishes: JEAT_TF_REPOSITORY=https://... python -m build
REPOSITORY = os.environ.get("JEAT_TF_REPOSITORY", "").rstrip("/")


def description() -> str:
    """README.md for a package index, where relative links lead nowhere: absolute links, or text without an address."""
    text = Path("README.md").read_text(encoding="utf-8")
    image, link = r"!\[([^]]*)\]\((?!https?:)([^)]+)\)", r"(?<!!)\[([^]]*)\]\((?!https?:|#)([^)]+)\)"
    text = re.sub(image, rf"![\1]({REPOSITORY}/raw/main/\2)" if REPOSITORY else "", text)
    return re.sub(link, rf"[\1]({REPOSITORY}/blob/main/\2)" if REPOSITORY else r"\1", text)


setup(
    name="jeat_tf",
    version=re.search(r'__version__ = "(.+)"', Path("jeat_tf/core/version.py").read_text())[1],
    description="Joint energy adversarial training (JEAT), JEM and Robust JEM in TensorFlow and Keras 3",
    long_description=description(),
    long_description_content_type="text/markdown",
    author="The jeat_tf authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["energy-based models", "adversarial robustness", "AutoAttack", "Keras", "TensorFlow"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Topic :: Security",
        "Typing :: Typed",
    ],
    project_urls={
        "Source": REPOSITORY,
        "Issues": f"{REPOSITORY}/issues",
        "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
    }
    if REPOSITORY
    else {},
    # configs/ and components/ are parts of an installed package, whose names no other package has.
    packages=[*find_packages(include=["jeat_tf", "jeat_tf.*"]), "jeat_tf.presets", "jeat_tf.components"],
    package_dir={"jeat_tf.presets": "configs", "jeat_tf.components": "components"},
    package_data={
        "": ["*.pyi"],
        "jeat_tf.presets": ["*/*.flags"],
        "jeat_tf": ["py.typed", "zoo/*/*"],
        "jeat_tf.report": ["*.html", "*.css", "*.js", "*.json"],
    },
    entry_points={"console_scripts": ["jeat_tf = jeat_tf.__main__:main"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "tensorflow>=2.20,<2.22",
        "keras>=3.12,<3.16",
        "lazy_loader>=0.4",
        "tensorflow-datasets>=4.9.10,<5",
        # tensorflow-datasets 4.9.10 imports it without declaring it.
        "importlib-resources",
        "tensorflow-probability>=0.25,<0.26",
        # tensorflow-probability imports it without declaring it; its minor must be TensorFlow's.
        "tf-keras>=2.20,<2.22",
        "tensorboard>=2.20,<2.22",
        "absl-py>=2.1",
        "filelock>=3.16,<5",
        "h5py>=3.11",
        "jinja2>=3.1",
        "numpy>=2.1",
        "scipy>=1.13",
        "scikit-learn>=1.5",
        "matplotlib>=3.8",
        "pillow>=10",
        "safetensors>=0.4",
        "tqdm>=4.66",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.20,<2.22"],
        "onnx": ["tf2onnx>=1.16", "onnxruntime>=1.20"],
        # Brings the module imagecorruptions; the package of that name is older and does not run with NumPy 2.
        "corruptions": ["imagecorruptions-imaug>=1.1.5,<2"],
        "profile": ["xprof>=2.20"],
        # 2.17 pins requests and urllib3 exactly.
        "kfp": ["kfp>=2.16,<2.17"],
        "beam": ["apache-beam>=2.70,<3"],
        "dask": ["apache-beam[dask]>=2.70,<3"],
        # ml-metadata 1.21, which it needs, has Linux wheels for glibc >= 2.39 alone (Debian 13, Ubuntu 24.04).
        "tfx": ["tfx>=1.21,<1.22"],
        "docs": ["mkdocs-material>=9.5,<10", "mkdocstrings[python]>=0.27,<2", "mkdocs-jupyter>=0.25"],
        "dev": ["pytest>=8", "pytest-xdist>=3.6", "ruff>=0.14", "mypy>=1.15", "import-linter>=2.3"],
    },
)
