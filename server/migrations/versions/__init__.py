"""One module for each revision; their order stands in `down_revision`."""
