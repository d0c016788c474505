from pair import pair  # noqa: F401
