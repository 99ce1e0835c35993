"""Everything on one machine: the servers of Mycoflow as one foreground command, and the demo that plays two nights."""
