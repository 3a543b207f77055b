"""Keeps `shoal daemon` running: a systemd user unit, a launchd agent or a Windows task."""
