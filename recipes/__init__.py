"""Recipes that come with edgepriv."""
