"""Reads a person's photos: opened read-only, cropped to a square, stripped of everything but pixels."""

from __future__ import annotations

from client.photos.decoding import load_photo
from client.photos.folder import Photo, Refusal, load_photos, stack

__all__ = ["Photo", "Refusal", "load_photo", "load_photos", "stack"]
