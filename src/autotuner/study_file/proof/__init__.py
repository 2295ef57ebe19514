"""Forms of the sections that decide whether a configuration may win."""
