"""HumanEval: which samples pass their tests, and how much of the way to the best sample a judge's picks go."""
