"""What every deployer needs: failures, readiness probes, server logs."""
