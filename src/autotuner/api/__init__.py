"""The Python API behind ``import autotuner``, on which the command line is built.

:mod:`~autotuner.api.client` has the client object, :mod:`~autotuner.api.shorthands` the functions of the package. The
other modules do the work and are imported on first use: reading stored results must not load the engines, the load
generator and the event loop.
"""
