"""`make demo`: two nights of an image classifier, on real images, from nothing."""
