"""What pages show of studies and trials: columns, outcomes, changes. Terminal and web UI share these."""
