"""Figures and tables from run folders; imports no trainer."""
