# An image of the simulated engine: SGLang's and vLLM's command lines on predicted times, without GPUs.
#
#     docker build -f packaging/simulated.Dockerfile -t llm-inference-autotuner/simulated:0.1.0 .
#
# With `engine: simulated` and `deploy: docker` it is used as it is. It plays the real engines too: with `engine: sglang`
# or `engine: vllm` name it in `deploy.image`, and set what is simulated here or by `engine.env`.
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
