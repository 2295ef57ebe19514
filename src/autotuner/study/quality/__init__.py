"""Quality of a configuration's answers: what a study checks, and what was found."""
