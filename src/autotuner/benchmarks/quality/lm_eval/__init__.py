"""lm-evaluation-harness from a separate installation: its command line, and the scores in its log of samples."""
