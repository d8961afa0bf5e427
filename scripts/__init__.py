"""The command line: one file per command, on top of data, prior and fitting."""
