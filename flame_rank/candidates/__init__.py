"""What a candidate's text shows without a model: its final answer, its code, its language."""
