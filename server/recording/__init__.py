"""Recordings of rooms: what each participant sends goes to files as it came, on a thread of its own.

Knows formats, packets and participants; knows neither HTTP nor connections nor the model.
"""
