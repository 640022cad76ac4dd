"""Fine-tuning a reconstruction model so that a downstream predictor errs alike in all groups."""
