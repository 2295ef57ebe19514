"""The tuning loop: planning a study, running its trials, proving the winner, and concluding what they show."""
