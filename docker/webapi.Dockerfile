# The prediction service and `mycoflow migrate`: no TensorFlow, no Airflow, no compiler.
FROM python:3.12.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements-web.txt .
RUN pip install --no-deps --require-hashes -r requirements-web.txt
COPY pyproject.toml README.md ./
COPY ml ml
COPY webapi webapi
RUN pip install --no-deps .

FROM python:3.12.12-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MYCOFLOW_HOME=/var/lib/mycoflow
RUN useradd --uid 10001 --user-group --home-dir /var/lib/mycoflow --create-home --shell /usr/sbin/nologin mycoflow
COPY --from=build /opt/venv /opt/venv
COPY docker/create_buckets.py /opt/mycoflow/docker/
USER 10001:10001
WORKDIR /var/lib/mycoflow
EXPOSE 8000 9100
CMD ["gunicorn", "--config", "python:webapi.gunicorn_conf", "webapi.factory:create_app()"]
