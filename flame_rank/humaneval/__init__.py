"""HumanEval: runs the samples' tests, and measures how close a judge's picks come to the best possible ones."""
