"""The wire as values: requests are built, replies are parsed, nothing here opens a socket."""
