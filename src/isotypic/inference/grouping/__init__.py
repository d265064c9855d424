"""From what a network says of every pixel to instances: clusters of embeddings, objects from seeds."""
