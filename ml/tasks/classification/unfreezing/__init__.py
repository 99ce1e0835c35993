"""Fine-tuning for classification: train the last layers of a backbone further, with a head that is already trained."""
