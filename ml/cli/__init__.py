"""The command line `mycoflow`: one file per group of commands."""
