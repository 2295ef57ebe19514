"""What a study learns from earlier studies in the store."""
