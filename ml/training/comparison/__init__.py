"""Compare backbones on one's own images: accuracy, speed and memory, before one of them is chosen."""
