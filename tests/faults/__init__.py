"""Puts and gets through a network and against appliances that misbehave, from seeds."""
