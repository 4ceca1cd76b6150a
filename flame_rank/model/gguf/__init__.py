"""GGUF files: their container, tokenizer, configuration and weights."""
