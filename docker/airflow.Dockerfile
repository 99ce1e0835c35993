# Airflow, the tasks it runs (TensorFlow) and the MLflow server: everything locked in requirements.txt.
FROM python:3.12.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements.txt .
RUN pip install --no-deps --require-hashes -r requirements.txt
COPY pyproject.toml README.md ./
COPY ml ml
COPY webapi webapi
RUN pip install --no-deps .

FROM python:3.12.12-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONPATH=/opt/mycoflow \
    MYCOFLOW_HOME=/var/lib/mycoflow \
    AIRFLOW_HOME=/opt/airflow
RUN useradd --uid 10001 --user-group --home-dir /var/lib/mycoflow --create-home --shell /usr/sbin/nologin mycoflow \
    && install --directory --owner=mycoflow --group=mycoflow /opt/airflow /var/log/airflow
COPY --from=build /opt/venv /opt/venv
COPY docker/mlflow /opt/mycoflow/docker/mlflow
COPY plugins /opt/mycoflow/plugins
COPY dags /opt/mycoflow/dags
USER 10001:10001
WORKDIR /opt/mycoflow
