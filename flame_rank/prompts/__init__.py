"""What a judge is asked: one format for training and judging."""
