"""The prompts of judges: one format for training and judging."""
