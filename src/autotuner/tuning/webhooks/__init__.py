"""Messages about a study for webhooks."""
