"""Authentication, authorisation, rate limits and maintenance mode."""
