"""``python3 -m vllm.entrypoints.openai.api_server FLAGS`` starts the simulator."""

import sys

from autotuner.simulator.__main__ import main

if __name__ == "__main__":
    sys.exit(main(flavor="vllm"))
