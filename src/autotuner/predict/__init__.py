"""What fits on a GPU, and how fast it should be: analytic and pure. Every number from here is a prediction."""
