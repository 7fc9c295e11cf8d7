"""Optimisation: modules, schedules, callbacks."""
