"""How HTTP and its documents are spoken: heads, bodies, signatures, digests, XML."""
