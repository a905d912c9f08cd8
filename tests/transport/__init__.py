"""Tests of the transport: real sockets on real ports, against a server that plays back exact bytes."""
