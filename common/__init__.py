"""The mathematics and the words that client and server share: no network, no disk, no Flower."""
