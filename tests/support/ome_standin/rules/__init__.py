"""Rules of OME as pure functions: which runtime serves a model, what is rejected, what is created and reported."""
