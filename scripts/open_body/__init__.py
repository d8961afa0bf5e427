"""Builds the open body that ships with bodyfit from CC0 assets. Not in the wheel."""
