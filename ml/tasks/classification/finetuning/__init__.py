"""Fine-tuning for classification: the last layers of a backbone trained further, under a head that is fitted."""
