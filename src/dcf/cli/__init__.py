"""The command line: one file per command; errors become advice and an exit code in one place."""
