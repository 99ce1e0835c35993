"""How sure answers are, and what follows from that."""
