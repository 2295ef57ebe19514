"""What a study knows before its first launch: earlier studies in the store, and recommendations."""
