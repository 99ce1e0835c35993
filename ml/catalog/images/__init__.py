"""Data about images: label origins, statistics, copy hashes, features, batches, and queries."""
