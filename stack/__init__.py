"""The whole stack on one machine: all servers as one foreground command, and a demo of two nights."""
