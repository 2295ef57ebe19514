# An image of the simulated engine: the command lines of SGLang and vLLM with predicted times, without GPUs.
#
#     docker build -f packaging/simulated.Dockerfile -t llm-inference-autotuner/simulated:0.1.0 .
#
# `engine: simulated` with `deploy: docker` uses it. It also imitates the real engines: with `engine: sglang` or
# `engine: vllm`, name it in `deploy.image`, and set what to simulate here or under `engine.env`.
ARG BASE=python:3.12-slim
FROM ${BASE}
COPY pyproject.toml README.md LICENSE /src/
COPY src /src/src
RUN pip install --no-cache-dir /src && rm -rf /src \
    && ln -s "$(python3 -c 'import autotuner.simulator as s; print(s.__path__[0])')" /opt/simulator
ENV PATH=/opt/simulator/shims/bin:$PATH PYTHONPATH=/opt/simulator/shims \
    AUTOTUNER_SIMULATED_GPU=H100 AUTOTUNER_SIMULATED_GPU_COUNT=1
# No entrypoint: the command is the engine's own (`python3 -m sglang.launch_server ...`, `vllm serve ...`).
EXPOSE 8000
