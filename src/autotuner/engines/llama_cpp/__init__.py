"""llama.cpp: flags, launch plans, failure causes, and a launcher for the Python wheel."""
