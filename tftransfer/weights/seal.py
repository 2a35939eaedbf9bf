"""A digest after the end of a file, by which damage is noticed before a parser reads the file.

HDF5 allows bytes after its own end, so a sealed file stays a plain weights file. HDF5 tools that edit a file
cut the seal off; the checksums inside the file (of the record and of each variable) still hold then.
"""

import hashlib
import os

MAGIC = b"tftransfer seal\n"
_DIGEST = 32
_LENGTH = len(MAGIC) + _DIGEST


def add_seal(path):
    """Appends the seal to a finished file."""
    with open(path, "rb+") as file:
        digest = _digest(file, os.fstat(file.fileno()).st_size)
        file.seek(0, os.SEEK_END)
        file.write(MAGIC + digest)


def check_seal(path):
    """Whether the file carries a seal; ValueError when it does and the file is not what was sealed."""
    with open(path, "rb") as file:
        length = os.fstat(file.fileno()).st_size - _LENGTH
        if length < 0:
            return False
        file.seek(length)
        seal = file.read(_LENGTH)
        if not seal.startswith(MAGIC):
            return False
        file.seek(0)
        if _digest(file, length) != seal[len(MAGIC) :]:
            raise ValueError(
                f"{str(path)!r} is damaged: its bytes are not the ones that were saved. Copy it again from "
                "where it was written, or save it again."
            )
    return True


def _digest(file, length):
    digest = hashlib.blake2b(digest_size=_DIGEST)
    while length > 0:
        block = file.read(min(length, 1 << 20))
        if not block:
            break
        digest.update(block)
        length -= len(block)
    return digest.digest()
