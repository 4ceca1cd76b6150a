"""Which pairs of candidates to ask a judge about, and what the answers mean: numbers only."""
