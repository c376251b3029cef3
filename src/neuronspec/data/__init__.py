"""From users' corpora to sampled batches."""
