"""Pre-trained encoders of the paper as optional parts: Hugging Face models, from a configuration or from weights."""
