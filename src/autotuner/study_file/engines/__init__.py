"""``engines`` of a study file: several engines in one study."""
