"""What ranking a file takes with each strategy, before anything is spent: comparisons, tokens, programs, seconds."""
