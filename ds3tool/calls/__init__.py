"""The client's calls, a file for each thing they are about."""
