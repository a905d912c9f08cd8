"""An appliance in a box: a real HTTP server with tapes, cache and jobs."""
