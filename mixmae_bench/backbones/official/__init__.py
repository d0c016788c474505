"""How a model describes checkpoints and constructors of its official code, at the end of its own file."""
