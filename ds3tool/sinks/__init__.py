"""Where a get can land."""
