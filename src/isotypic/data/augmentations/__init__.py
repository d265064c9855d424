"""What may happen to the images of a training batch, and to their label images with them."""
