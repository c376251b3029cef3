"""The report: findings in words, cards of neurons, the HTML page."""
