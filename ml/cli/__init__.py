"""`mycoflow ...`: one file per group of commands."""
