"""Evidence for code without a model: programs are parsed, run on examples and tests, and compared with each other."""
