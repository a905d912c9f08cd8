"""Measuring an appliance with generated data: what is moved, how it is timed, and what limits it."""
