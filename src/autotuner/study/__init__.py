"""The nouns of the product, as frozen pydantic models; no I/O."""
