"""Thin command lines over data, prior and fitting."""
