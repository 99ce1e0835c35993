"""The house: what an admin looks after."""
