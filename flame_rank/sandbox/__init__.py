"""Which programs do what they should? Runs untrusted Python so that it can neither do harm nor forge its result."""
