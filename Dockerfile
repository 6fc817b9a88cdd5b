# The service, the page and the command in one image: no TensorFlow, no compiler, no root.
#   docker build -t deepfake .
#   docker run --rm --read-only -p 127.0.0.1:8000:8000 deepfake
FROM python:3.11-slim-bookworm AS build
# What the image can do: `serve` for the service and the page, `flows` for a Prefect worker.
ARG EXTRA=serve
WORKDIR /app
RUN python -m pip install --no-cache-dir uv==0.13.9 && uv venv .venv
# Dependencies first: they change less often than the code, and this layer is the large one.
COPY pyproject.toml requirements.lock ./
RUN uv pip install --no-cache --requirement pyproject.toml --extra "$EXTRA" \
  --constraint requirements.lock
COPY README.md LICENSE ./
COPY deepfake_core deepfake_core
COPY flows flows
COPY models models
# Editable, because the registry is found beside the package.
RUN uv pip install --no-cache --no-deps --editable .

FROM python:3.11-slim-bookworm
# The folder of Prefect's database; a volume that is mounted there takes over its owner.
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent deepfake \
  && install -d -o 10001 -m 700 /prefect
WORKDIR /app
COPY --from=build /app .
# Byte code is not written: the file system may be read-only.
ENV PATH=/app/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 DO_NOT_TRACK=1 PORT=8000 \
  DEEPFAKE_HOME=/app PREFECT_HOME=/prefect
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s CMD ["python", "-c", \
  "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/readyz', timeout=2)"]
ENTRYPOINT ["deepfake"]
CMD ["serve", "--host", "0.0.0.0"]
