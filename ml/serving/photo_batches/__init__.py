"""Many photos at once: take them in, and answer them in the background. Requests for one photo go first."""
