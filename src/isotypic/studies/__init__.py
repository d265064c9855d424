"""A study crosses recipes with models, augmentations, training-set sizes and seeds."""
