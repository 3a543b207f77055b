"""The person's page on loopback: what Shoal does now, concepts, drawing, choosing, privacy, settings."""
