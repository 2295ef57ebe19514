"""The domain model: frozen pydantic models without I/O."""
