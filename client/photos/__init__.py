"""Reads a person's photos: opened read-only, cropped to a square, stripped of everything but pixels."""

from __future__ import annotations

from client.photos.beside import captions_of, region_of
from client.photos.decoding import load_photo
from client.photos.folder import Photo, Refusal, listed, load_photos, stack

__all__ = ["Photo", "Refusal", "captions_of", "listed", "load_photo", "load_photos", "region_of", "stack"]
