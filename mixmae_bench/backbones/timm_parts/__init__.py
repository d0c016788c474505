"""Parts of `TimmBackbone`: construction, input sizes, layer depths, adaptation and sources of weights."""
