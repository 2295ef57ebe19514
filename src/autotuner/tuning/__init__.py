"""The loop: one trial, one study, the winner's confirmation, leases, and the stream of events."""
