"""Translation: beam search over sentences of any mix of directions."""
