"""Images and what is stored of each: labels, membership, hashes, features, batches."""
