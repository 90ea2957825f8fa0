"""Opt-in touches of the world. Nothing here is imported by a run that has not asked for it."""
