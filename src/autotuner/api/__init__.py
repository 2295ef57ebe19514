"""The Python API behind ``import autotuner``; the command line and the server are built on it and on nothing below it.

:mod:`~autotuner.api.client` is the client object, :mod:`~autotuner.api.shorthands` the functions of the package itself.
The modules beside them do the work, and are imported when they are first needed: reading stored results must not cost
the start-up of the engines, the load generator and the event loop.
"""
