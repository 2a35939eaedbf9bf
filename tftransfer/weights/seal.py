"""A digest after the end of a file, by which damage is noticed before a parser reads the file.

HDF5 allows bytes after its own end, so a sealed file stays a plain weights file. HDF5 tools that edit a file
cut the seal off; the checksums inside the file (of the record and of each variable) still hold then. A seal
tells of damage, not of malice: anybody can make one. So a file of another process is read by `probe` first
all the same.
"""

import contextlib
import hashlib
import os

from tftransfer.weights.files import atomic_write, reserve

MAGIC = b"tftransfer seal\n"
_DIGEST = 32
_LENGTH = len(MAGIC) + _DIGEST

known = set()  # digests of files that this process wrote or has probed


@contextlib.contextmanager
def sealed_write(path, size):
    """`atomic_write` of a file that is sealed in the end, on a disk that has room for it.

    Args:
        path: where the finished file shall lie.
        size: bytes that it will take, rather too many.

    Yields:
        The temporary path, of an empty file.

    Raises:
        OSError: the folder cannot be written, or the disk is full; a file that was there is unchanged.

    Example:

    >>> import tempfile
    >>> with sealed_write(tempfile.mkdtemp() + "/note", 1000) as temporary:
    ...     _ = temporary.write_text("whole")
    """
    with atomic_write(path) as temporary:
        reserve(temporary, size)
        yield temporary
        add_seal(temporary)


def add_seal(path):
    """Appends the seal to a finished file."""
    with open(path, "rb+") as file:
        digest = _digest(file, os.fstat(file.fileno()).st_size)
        file.seek(0, os.SEEK_END)
        file.write(MAGIC + digest)
    known.add(digest)


def check_seal(path, where):
    """The digest in the file's seal, None without one; ValueError when the file is not what was sealed."""
    with open(path, "rb") as file:
        length = os.fstat(file.fileno()).st_size - _LENGTH
        if length < 0:
            return None
        file.seek(length)
        seal = file.read(_LENGTH)
        if not seal.startswith(MAGIC):
            return None
        file.seek(0)
        if _digest(file, length) != seal[len(MAGIC) :]:
            raise ValueError(
                f"{where} is damaged: its bytes are not the ones that were saved. Copy it again from where it was "
                "written, or save it again."
            )
    return seal[len(MAGIC) :]


def _digest(file, length):
    digest = hashlib.blake2b(digest_size=_DIGEST)
    while length > 0:
        block = file.read(min(length, 1 << 20))
        if not block:
            break
        digest.update(block)
        length -= len(block)
    return digest.digest()
