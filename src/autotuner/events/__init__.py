"""The event stream of a study: journal (writer), follow (cursor), view (fold)."""
