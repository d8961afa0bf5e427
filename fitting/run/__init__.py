"""Whole folders: what is fitted, written, kept and resumed."""
