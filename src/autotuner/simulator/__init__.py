"""A server that accepts SGLang's or vLLM's flags and behaves like it, with predicted times instead of GPUs.

For tests, demos and planning. The server marks its numbers as simulated: in the first line of its log, in its server
information and in its metrics. Usage: ``python -m autotuner.simulator --flavor sglang --model-path ... --port ...``
"""
