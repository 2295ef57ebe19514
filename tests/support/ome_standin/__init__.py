"""Stand-in for OME: its kinds, admission webhooks and controllers as clients see them, on any cluster.

Deployments to OME can be tested with it without OME's images. It reproduces OME's observed behavior, above all the
unhelpful parts, and replaces no code of autotuner.
"""

from support.ome_standin.fixture import OmeStandIn

__all__ = ["OmeStandIn"]
