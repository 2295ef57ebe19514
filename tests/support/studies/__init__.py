"""Studies of the tests."""
