# Speech translation behind a websocket and a page, on a CPU:
#     docker build --target serve --tag echostream .
#     docker run --rm --publish 127.0.0.1:8000:8000 echostream
# The target `iwslt` is simulstream's HTTP speech processor, the form of IWSLT's evaluation.
FROM python:3.11-slim-bookworm AS build
# gcc is for bitarray, which SimulEval needs and which has no wheel for every Python.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY setup.py README.md requirements.txt ./
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --constraint requirements.txt \
        --extra-index-url https://download.pytorch.org/whl/cpu torch
COPY echostream echostream
RUN /venv/bin/pip install --no-cache-dir --constraint requirements.txt ".[serve,simulstream]"

FROM python:3.11-slim-bookworm AS run
RUN useradd --uid 10001 --create-home echostream
COPY --from=build /venv /venv
COPY models/fr-en-demo /home/echostream/models/fr-en-demo
ENV PATH=/venv/bin:$PATH OMP_NUM_THREADS=1
WORKDIR /home/echostream
USER 10001

FROM run AS iwslt
COPY configs/simulstream configs/simulstream
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8080), 3)"]
CMD ["python", "-m", "simulstream.server.speech_processors.remote.http_speech_processor_server", \
     "--server-config", "configs/simulstream/http.yaml", \
     "--speech-processor-config", "configs/simulstream/fr-en-demo.yaml"]

FROM run AS serve
COPY examples/fr-en examples/fr-en
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz')"]
CMD ["echostream", "serve", "models/fr-en-demo", "--host", "0.0.0.0", \
     "--decoding-method", "decoder", "--lagging-k1", "1", "--examples", "examples/fr-en"]
