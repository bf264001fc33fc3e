"""Prompt sets judged on images whose label is known."""
