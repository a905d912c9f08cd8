"""Jobs: planned, given room, moved blob by blob, ended; with or without a bulk request."""
