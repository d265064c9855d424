"""What becomes of each kind of module and function: one module a kind."""
