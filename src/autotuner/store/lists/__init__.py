"""Lists of studies and trials: the columns that they need, and their pages."""
