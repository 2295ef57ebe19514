"""What several engines share: command lines, flag catalogs, failure causes, portable settings."""
