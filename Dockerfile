# docker build --tag mixmae-bench .                                      CPU
# docker build --tag mixmae-bench:cuda --build-arg TORCH_BACKEND=cu130 .  CUDA 13.0
FROM python:3.11-slim

# A backend of PyTorch as uv names them: cpu, cu130, ...
ARG TORCH_BACKEND=cpu

# OpenCV needs libgl1 and libglib2.0-0; Triton compiles its launcher with gcc.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc git libc6-dev libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/mixmae-bench
COPY . .
# The versions of constraints.txt; the CPU wheels of torch do not need the packages nvidia-*.
RUN pip install --no-cache-dir uv==0.13.8 \
    && uv pip install --system --no-cache --torch-backend "$TORCH_BACKEND" \
         --constraint constraints.txt ".[onedl]"

RUN useradd --create-home --uid 1000 bench
USER 1000
WORKDIR /home/bench
ENTRYPOINT ["mixmae-bench"]
CMD ["doctor"]
