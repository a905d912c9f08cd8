"""The command line; the folder's tree is the command tree."""
