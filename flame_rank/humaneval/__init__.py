"""HumanEval: which samples pass their tests, and how far towards the best sample a judge's picks go."""
