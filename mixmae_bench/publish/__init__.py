"""A finished run as a repository of the Hugging Face Hub: weights, config and model card."""
