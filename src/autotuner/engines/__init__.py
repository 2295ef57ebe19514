"""Inference servers: one folder per engine with the same file names, plus what several of them share."""
