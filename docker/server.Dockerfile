# The server's parts: SuperLink, SuperExec, enrolment, page, proxy, runs. Which of them a container runs is said by
# `serve --only`; docker/compose.yaml has all. Built from the repository's root:
#   docker build -f docker/server.Dockerfile -t shoal-server .
FROM python:3.11.13-slim-bookworm

# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends nginx-light \
 && rm -rf /var/lib/apt/lists/* /etc/nginx/sites-enabled \
 && useradd --system --uid 10001 --home-dir /state --shell /usr/sbin/nologin shoal \
 && install -d -o shoal -m 0700 /state \
 && install -d -o shoal -m 0755 /codes

WORKDIR /opt/shoal
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY common common
COPY client client
COPY server server
COPY simulations/__init__.py simulations/__init__.py
RUN pip install --no-cache-dir --no-compile -c constraints.txt '.[server]'

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FLWR_TELEMETRY_ENABLED=0 \
    FLWR_DISABLE_UPDATE_CHECK=1 \
    FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1
WORKDIR /state
VOLUME /state
USER 10001
EXPOSE 8443
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s CMD ["python", "-m", "server.health", "/state"]
ENTRYPOINT ["shoal-server"]
CMD ["serve", "/state"]
