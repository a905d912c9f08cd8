"""Requests in, responses out: the only room with sockets."""
