# A device: learns from /photos, draws, takes part in rounds. Built from the repository's root:
#   docker build -f docker/client.Dockerfile -t shoal-client .
# --build-arg BUILD=gpu for an NVIDIA GPU (torch brings CUDA; the host needs NVIDIA's container toolkit, and
# `docker run --gpus all`). For a smaller image without one, --build-arg PIP_EXTRA_INDEX_URL=an index with builds for the CPU.
ARG BUILD=cpu

FROM python:3.11.13-slim-bookworm AS base
RUN useradd --system --uid 10002 --home-dir /home/shoal --shell /usr/sbin/nologin shoal \
 && install -d -o shoal -m 0700 /home/shoal
WORKDIR /opt/shoal
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY common common
COPY client client
COPY server server
COPY simulations/__init__.py simulations/__init__.py

FROM base AS cpu
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir --no-compile -c constraints.txt '.[client]'

FROM base AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN pip install --no-cache-dir --no-compile -c constraints.txt '.[client]'

# There is no keyring in a container: the vault's key lies beside the vault, which whoever reads the volume opens. Better:
# SHOAL_PASSPHRASE_FILE, a secret of the engine's, and no SHOAL_KEY_FILE.
# hadolint ignore=DL3006
FROM ${BUILD}
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SHOAL_HOME=/home/shoal \
    SHOAL_KEY_FILE=/home/shoal/vault.key \
    HF_HUB_OFFLINE=1 \
    FLWR_TELEMETRY_ENABLED=0 \
    FLWR_HOME=/home/shoal/flower
WORKDIR /home/shoal
VOLUME /home/shoal
USER 10002
HEALTHCHECK --interval=60s --timeout=30s --start-period=120s CMD ["shoal", "privacy", "--json"]
ENTRYPOINT ["shoal"]
CMD ["daemon"]
