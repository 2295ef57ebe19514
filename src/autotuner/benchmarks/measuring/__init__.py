"""From request records to a Measurement: populations, statistics, steadiness, uncertainty."""
