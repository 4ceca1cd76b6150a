"""What a judge is asked, in one place for training and judging."""

# What the default judge's encoder reads before the prompt. It has no other instructions yet.
INSTRUCTIONS = "Which response is better?"
