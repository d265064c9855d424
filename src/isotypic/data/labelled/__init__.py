"""Images with a label image each, of any size: sets of them, and windows for training."""
