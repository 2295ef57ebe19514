"""Packages with the names of the engines, so that an image offers their command lines without containing them.

Put this folder on ``PYTHONPATH`` and its ``bin`` on ``PATH``: ``python3 -m sglang.launch_server``, ``sglang serve``,
``vllm serve`` and ``python3 -m vllm.entrypoints.openai.api_server`` then start the simulator. The simulation is
configured by ``AUTOTUNER_SIMULATED_GPU``, ``_GPU_COUNT``, ``_SHAPE``, ``_SPEED``, ``_START_S`` and ``_NOISE``.
"""
