"""A model behind an OpenAI-compatible server as a judge: which comparisons are sent, how, and what the answers mean."""
