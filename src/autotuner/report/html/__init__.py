"""The offline HTML report: one self-contained file."""
