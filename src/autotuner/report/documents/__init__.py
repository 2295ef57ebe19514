"""Reports as files: one HTML page that needs no server and no network, and Markdown."""
