"""What goes on beside a run as long as it holds its study."""
