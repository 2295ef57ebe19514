"""A stand-in for OME: its kinds, admission webhooks and controllers as clients see them, on any cluster.

It exists so that what deploys to OME can be developed and tested without OME's images. It is written from what was
observed of OME from outside, keeps the unhelpful parts above all, and never stands for the product's own code.
"""

from support.ome_standin.fixture import OmeStandIn

__all__ = ["OmeStandIn"]
