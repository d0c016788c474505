"""Tools to describe checkpoints and constructors of official code, used at the end of each model's file."""
