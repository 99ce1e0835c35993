"""A soak test: thirty nights of the whole system on a simulated clock, with drift of the images in between."""
