"""What is tuned: parameters, the space they span, and constraints between them."""
