"""A server that takes SGLang's or vLLM's own flags and behaves like one, on predicted times instead of GPUs.

For tests, demos and planning. Whatever it answers is simulated, and it says so: in the first line of its log, in its
server information and in its metrics. ``python -m autotuner.simulator --flavor sglang --model-path ... --port ...``
"""
