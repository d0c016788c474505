# docker build --tag mixmae-bench .                                  CPU
# docker build --tag mixmae-bench:cuda --build-arg TORCH=cuda .      CUDA
FROM python:3.11-slim

# cpu or cuda: PyTorch's index of CPU wheels, or the default index, whose wheels contain CUDA.
ARG TORCH=cpu

# OpenCV needs libgl1 and libglib2.0-0; Triton compiles its launcher with gcc.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc git libc6-dev libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/mixmae-bench
COPY constraints.txt ./
# The versions of constraints.txt; in the CPU wheels of torch, the packages nvidia-* are not needed.
RUN pip install --no-cache-dir uv==0.13.8 \
    && if [ "$TORCH" = cpu ]; then \
         uv pip install --system --no-cache --constraint constraints.txt torch torchvision \
             --index-url https://download.pytorch.org/whl/cpu; \
       fi

COPY . .
RUN uv pip install --system --no-cache --constraint constraints.txt ".[onedl]"

RUN useradd --create-home --uid 1000 bench && mkdir /work && chown bench /work
USER 1000
WORKDIR /work
ENTRYPOINT ["mixmae-bench"]
CMD ["doctor"]
