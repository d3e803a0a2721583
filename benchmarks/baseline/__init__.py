"""The yardstick: what following the tutorials of Django REST framework and Channels gives.

A view saves a row and calls `group_send`, a consumer passes on what its group gets. Daphne, the in-memory channel layer,
SQLite with the durability of ours (WAL, `synchronous=FULL`). No keys, no permissions, no resume.
"""
