"""Training by several processes: the data that they read at once, and what starts them."""
