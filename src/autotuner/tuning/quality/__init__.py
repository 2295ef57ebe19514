"""Quality check of a study: which configurations are compared with the default, and the comparison of one trial."""
