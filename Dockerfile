# toedit with everything the quickstart needs. Two targets:
#     docker build --target cpu --build-arg TORCH_INDEX=<PyTorch's index of CPU builds> -t toedit:cpu .
#     docker run --rm -it -v "$PWD:/data" toedit:cpu stage=edit ...
#     docker build --target cuda -t toedit:cuda .
#     docker run --rm -it --gpus all -v "$PWD:/data" toedit:cuda stage=edit ...
# Artifacts go to /data; hub models and data sets are cached in /data/.cache.
FROM python:3.12-slim AS base
RUN apt-get update && apt-get install -y --no-install-recommends git gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /toedit
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 \
    HF_HOME=/data/.cache/huggingface NUMBA_CACHE_DIR=/tmp/numba
COPY pyproject.toml README.md LICENSE ./
COPY scripts/constraints.txt scripts/
COPY toedit toedit

FROM base AS cpu
# Without an index of its own, pip takes the CUDA build, which works on CPUs, too, and is gigabytes larger.
ARG TORCH_INDEX=
RUN torch=$(sed -n 's/^torch==/torch==/p' scripts/constraints.txt) \
    && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$torch" \
    && pip install -c scripts/constraints.txt -e ".[eval,embeddings]"
COPY . .
WORKDIR /data
ENTRYPOINT ["python", "/toedit/run.py"]

FROM base AS cuda
RUN torch=$(sed -n 's/^torch==/torch==/p' scripts/constraints.txt) \
    && pip install "$torch" \
    && pip install -c scripts/constraints.txt -e ".[eval,embeddings]"
COPY . .
WORKDIR /data
ENTRYPOINT ["python", "/toedit/run.py"]
