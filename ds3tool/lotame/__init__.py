"""Lotame's DataStream: its API, its files, what was had of them already."""
