"""The release's number, as a constant: reading package metadata costs 40 ms at every start."""

VERSION = "0.1.0"
