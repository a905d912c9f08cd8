"""What is configured rather than moved: records of the contract's types, made, listed, changed and deleted."""
