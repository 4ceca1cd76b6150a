"""What a candidate's text says by itself, read without a model: its final answer, its code, its language."""
