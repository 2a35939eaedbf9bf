"""The weights file: save, describe, load, transfer."""
