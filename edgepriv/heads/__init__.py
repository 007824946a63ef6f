"""What stands after the softmax."""
