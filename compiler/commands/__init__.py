"""The larger commands, one a file: `add` tells the command line of it."""
