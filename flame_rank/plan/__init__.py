"""Predicts what ranking a file takes with each strategy: comparisons, tokens, programs, seconds."""
