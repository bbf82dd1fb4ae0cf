# The receiver: `docker build -t visavis .`, then, with VISAVIS_PUBLIC_ADDRESS in visavis.env,
#   docker run -p 8080:8080 -p 8443:8443/udp -e VISAVIS_UDP_PORT=8443 --env-file deploy/visavis.env visavis
# With a GPU: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 -t visavis:cuda .
#   docker run --gpus all -p 8080:8080 ... visavis:cuda
# Without Docker, to see whether these steps work: sudo .venv/bin/python -m tests.deploy.image FOLDER
FROM node:22-slim AS packages

WORKDIR /packages
COPY client_web/package.json client_web/package-lock.json client_web/.npmrc client_web/vendor.mjs ./
RUN npm ci --ignore-scripts && mkdir built && node vendor.mjs

FROM python:3.11-slim

# Wheels of torch for CPU by default; those for CUDA bring their own CUDA libraries and need only the host's driver.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /visavis

# All but torch with the hashes of the lock; torch from an index of its own builds (docs/requirements.md).
COPY requirements.txt requirements-dev.txt requirements.lock ./
RUN pip install --require-hashes --no-deps -r requirements.lock \
 && pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' requirements.txt)"

COPY model model
COPY server server
COPY client_web client_web
COPY --from=packages /packages/built client_web/built
# What the page needs to send motion; the package that writes it is not kept.
RUN python -m venv --system-site-packages /tmp/export \
 && /tmp/export/bin/pip install "$(grep '^onnx==' requirements-dev.txt)" \
 && /tmp/export/bin/python -m model export --web client_web/built \
 && rm -rf /tmp/export
RUN python -m compileall -q model server \
 && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin visavis \
 && install --directory --owner=10001 /var/cache/visavis /var/lib/visavis/recordings

USER 10001

# Without a key and a secret the receiver refuses to listen on this address, and says so.
# Graphs that were compiled for this machine's processor are kept in /var/cache/visavis: the next start is quicker.
# For recordings mount a volume at /var/lib/visavis/recordings and set VISAVIS_RECORDINGS to it.
ENV VISAVIS_HOST=0.0.0.0 \
    VISAVIS_PORT=8080 \
    VISAVIS_LOG_FORMAT=json \
    XDG_CACHE_HOME=/var/cache
EXPOSE 8080 8443/udp

HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['VISAVIS_PORT'] + '/healthz', timeout=2)"]

# SIGTERM drains: /readyz turns 503, calls go on for VISAVIS_DRAIN_SECONDS. Give `docker stop` more than that.
STOPSIGNAL SIGTERM
CMD ["python", "-m", "server", "serve"]
