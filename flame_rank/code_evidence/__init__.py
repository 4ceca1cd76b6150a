"""What do programs show when they are run? Evidence for code without a model: parsing, examples, agreement, tests."""
