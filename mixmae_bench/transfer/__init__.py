"""What fine-tuning needs in all three tasks."""
