"""Proof of a winner: it and the default are launched again in interleaved blocks until their difference is decided.

The next launch and the answer follow from the stored trials alone, so resuming a proof is not a special case. A first
measurement only decides which configurations are repeated. It was picked as the best of many and is therefore biased;
every estimate rests on the repeats.
"""
