# The server alone: Python, its requirements, this project. Nothing of it runs as root.
FROM python:3.12-slim AS requirements
RUN python -m venv --without-pip /venv
COPY requirements.txt .
RUN pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --requirement requirements.txt

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home pubsub && install --directory --owner=pubsub --mode=700 /data
COPY --from=requirements /venv /venv
WORKDIR /app
COPY manage.py ./
COPY pubsub_site pubsub_site
COPY channels_app channels_app
COPY templates templates
ENV PATH=/venv/bin:$PATH \
    PUBSUB_DATA=/data \
    PYTHONUNBUFFERED=1
# A checkout made under a tight umask is readable to its owner alone, and so would be its copy.
RUN chmod --recursive go+rX . && python -m compileall -q .
# By number: Kubernetes' runAsNonRoot does not look names up.
USER 10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
# Its tables are made before, once: `manage.py migrate`, as compose.yaml does.
CMD ["python", "manage.py", "serve", "--bind", "0.0.0.0:8000"]
