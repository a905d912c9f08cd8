"""Lotame's DataStream in a box."""
