# anomaly-exporter: docker build -t anomaly-exporter . && docker run --read-only --tmpfs /tmp -p 9899:9899 \
#   -v ./anomaly-exporter.yml:/etc/anomaly-exporter/anomaly-exporter.yml:ro anomaly-exporter

FROM python:3.11-slim AS build

# The kernels are compiled for any CPU of the architecture, because the image runs elsewhere than it is built: kernels for
# another CPU would be compiled anew at every start. Measured: as fast as those for the CPU at hand, within 1 to 3 %.
ENV NUMBA_CPU_NAME=generic \
    NUMBA_CACHE_DIR=/opt/kernels \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
COPY rules rules
COPY grafana grafana
RUN pip wheel --no-deps --wheel-dir /wheels .
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install /wheels/*.whl \
    && /opt/venv/bin/pip uninstall --yes pip setuptools

# In another directory than /src, so that the installed package is compiled and not the sources beside it. The sources are
# found again by their path: the venv must stay where it is.
WORKDIR /
RUN /opt/venv/bin/anomaly-exporter compile

FROM python:3.11-slim

ENV NUMBA_CPU_NAME=generic \
    NUMBA_CACHE_DIR=/opt/kernels \
    PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/kernels /opt/kernels
COPY deploy/anomaly-exporter.yml /etc/anomaly-exporter/anomaly-exporter.yml
COPY --chmod=0755 deploy/entrypoint.sh /usr/local/bin/entrypoint.sh

# No name, only a number: Kubernetes can then see that it is not root.
USER 65532:65532
EXPOSE 9899
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9899/-/healthy', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["entrypoint.sh"]
CMD ["run", "--config.file=/etc/anomaly-exporter/anomaly-exporter.yml"]
