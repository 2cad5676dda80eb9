"""The command `sheaf`: one file a command; each parses, calls, renders."""
