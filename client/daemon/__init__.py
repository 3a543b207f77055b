"""`shoal daemon`: learns what lies in watched folders when it may, takes part in rounds, serves the page, waits.

Its own process imports no model library. Learning runs in a child process that ends afterwards
(`client.daemon.apprentice`), so that nothing of a model stays in memory while there is nothing to learn.
"""
