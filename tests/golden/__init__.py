"""Wire documents written by hand, and what each one means."""
