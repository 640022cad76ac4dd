"""What the gateway answers by itself: operations, models, artifacts and uploads."""
