"""Figures: accuracy and speed, the plain reference, SMPLify-X's energy."""
