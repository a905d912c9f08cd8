"""What can be put."""
