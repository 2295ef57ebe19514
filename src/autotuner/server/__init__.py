"""REST API of ``autotuner serve``: routes over the Python API, authentication, and one stream of events per study.

Routes are plain functions, which FastAPI runs in threads, because the Python API blocks. They contain no decisions:
:mod:`autotuner.api` decides what a request means.
"""
