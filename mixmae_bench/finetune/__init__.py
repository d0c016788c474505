"""Fine-tuning on a user's own data, from any checkpoint, with a config that is written."""
