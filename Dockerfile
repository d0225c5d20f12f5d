# The image of the pipeline's steps: this package and what it needs, and nothing that builds.
# docker build --tag REGISTRY/jeat_tf:0.1.0 .            for processors
# docker build --build-arg EXTRAS='[gpu]' --tag ... .    for NVIDIA GPUs, with TensorFlow's own CUDA libraries

# A tag may be moved. Whoever builds pins the base by the digest that they have checked:
# docker build --build-arg BASE=python@sha256:... .
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS build
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/venv
COPY setup.py pyproject.toml constraints.txt README.md LICENSE ./
COPY jeat_tf ./jeat_tf
COPY components ./components
COPY configs ./configs
RUN /opt/venv/bin/python -m pip install --constraint constraints.txt ".${EXTRAS}" \
    && /opt/venv/bin/python -m pip uninstall --yes pip

FROM ${BASE}
RUN useradd --create-home --uid 1000 jeat
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH TF_CPP_MIN_LOG_LEVEL=2 PYTHONUNBUFFERED=1
USER jeat
WORKDIR /home/jeat
ENTRYPOINT ["python", "-m", "jeat_tf.components.run"]
CMD ["--help"]
