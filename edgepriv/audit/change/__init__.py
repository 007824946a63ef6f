"""What changed from one audited version of a model to the next, one topic each."""
