"""What is learned: a LightningModule each, with its losses."""
