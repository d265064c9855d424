"""Training by several processes: what starts them, on one machine or on a Spark cluster."""
