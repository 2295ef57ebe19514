"""The model behind the calibrated search: results of every level as a function of configuration and load.

Everything here needs numpy, so the strategy imports it only to make a proposal.
"""
