# Glimpse in a container: uid 1000, port 7860, nothing but /data and /tmp written to.
#
#   docker build -t glimpse .                                  the CPU
#   docker build -t glimpse:cuda --target cuda .               NVIDIA GPUs (of 8.0 and later, unless CUDA_COMPUTE_CAP says it)
#   docker build -t glimpse --build-arg PROGRAM=prebuilt .     a program that lies in target/image already
#
# What the program keeps (conversations, downloaded checkpoints) is below /data.

ARG RUST=1.95.0
# What the program is linked against must not be newer than what it runs on.
ARG DEBIAN=bookworm
ARG CUDA=13.0.1
# Where the program for the CPU comes from: `build` or `prebuilt`.
ARG PROGRAM=build

# --- Tools: Rust, Node.js, and what builds the page ---
FROM docker.io/library/node:20-${DEBIAN}-slim AS node

FROM docker.io/library/rust:${RUST}-${DEBIAN} AS tools
ARG RUST
# The image's own compiler, in place of another one with the parts that only developers need.
ENV RUSTUP_TOOLCHAIN=${RUST}
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
WORKDIR /src
# Only what the tools depend on, so that a change of the program does not install them again.
COPY Cargo.toml Makefile package.json package-lock.json rust-toolchain.toml ./
COPY scripts scripts
RUN make tools

# --- The page, which every program carries ---
FROM tools AS page
COPY . .
RUN make page

# --- The program for the CPU ---
FROM page AS build
RUN cargo build --release --features ssr && strip -o /glimpse target/release/glimpse

FROM scratch AS prebuilt
COPY target/image/glimpse /glimpse

# --- The program for NVIDIA GPUs ---
FROM docker.io/nvidia/cuda:${CUDA}-devel-ubuntu24.04 AS build-cuda
ARG RUST
# Unless it is given, scripts/build-cuda.sh says which GPUs the program is for.
ARG CUDA_COMPUTE_CAP
ENV RUSTUP_TOOLCHAIN=${RUST} CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup \
    PATH=/usr/local/cargo/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ make && rm -rf /var/lib/apt/lists/*
COPY --from=page /usr/local/cargo /usr/local/cargo
COPY --from=page /usr/local/rustup /usr/local/rustup
COPY --from=page /src /src
WORKDIR /src
RUN CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP} scripts/build-cuda.sh \
    && strip -o /glimpse target/cuda/release/glimpse && mkdir /data

# The driver's libcuda.so.1 comes from the host, through the NVIDIA Container Toolkit: this
# image starts on a machine with a GPU only.
FROM docker.io/nvidia/cuda:${CUDA}-runtime-ubuntu24.04 AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-cuda --chmod=755 /glimpse /usr/local/bin/glimpse
COPY --from=build-cuda --chown=1000:0 --chmod=775 /data /data
ENV GLIMPSE_ADDR=0.0.0.0:7860 GLIMPSE_DATA=/data/conversations HF_HOME=/data/huggingface \
    CUDA_CACHE_PATH=/tmp/cuda HOME=/tmp
USER 1000:1000
WORKDIR /data
VOLUME /data
EXPOSE 7860
STOPSIGNAL SIGTERM
# A large checkpoint is downloaded and loaded before it is ready.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30m --retries=3 CMD ["/usr/local/bin/glimpse", "check"]
ENTRYPOINT ["/usr/local/bin/glimpse"]
CMD ["serve"]

# --- The CPU, which is what is built where no target is named ---
FROM ${PROGRAM} AS program

FROM docker.io/library/debian:${DEBIAN}-slim AS folders
RUN mkdir -p /made/data && chown 1000:0 /made/data && chmod 775 /made/data

# libc, libgcc and nothing else: no shell, no package manager.
FROM gcr.io/distroless/cc-debian12 AS cpu
COPY --from=program --chmod=755 /glimpse /usr/local/bin/glimpse
COPY --from=folders --chown=1000:0 /made/data /data
ENV GLIMPSE_ADDR=0.0.0.0:7860 GLIMPSE_DATA=/data/conversations HF_HOME=/data/huggingface HOME=/tmp
USER 1000:1000
WORKDIR /data
VOLUME /data
EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30m --retries=3 CMD ["/usr/local/bin/glimpse", "check"]
ENTRYPOINT ["/usr/local/bin/glimpse"]
CMD ["serve"]
