"""The Docker deployer: one container per trial."""
