"""Writing a file whole or not at all."""

import contextlib
import errno
import glob
import os
import socket
import tempfile
from pathlib import Path

SUFFIX = ".weights.h5"


def check_name(path):
    """The path as a `Path`; ValueError unless it ends in `.weights.h5`, the only name Keras saves under."""
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"Expected the path of a weights file, received {path!r}.")
    if "://" in str(path):
        raise ValueError(
            f"Weights files are written to local folders, and copied from there; received {str(path)!r}."
        )
    path = Path(path).expanduser()
    if not path.name.endswith(SUFFIX) or path.name == SUFFIX:
        raise ValueError(
            f"A weights file must be named `something{SUFFIX}`, as Keras demands. Received: {str(path)!r}."
        )
    return path


@contextlib.contextmanager
def atomic_write(path):
    """Gives a temporary path to write to, then puts what was written at `path` in one step, or not at all.

    The temporary file lies in the same folder, under a name with the same suffixes. When the block ends, the
    file is flushed to the disk and renamed over `path` (the folder is flushed too), so that a crash, a kill
    or a full disk at any moment leaves either the old file or the new one. When the block raises, the
    temporary file is removed and the old file is untouched. Missing parent folders are created.

    Args:
        path: where the finished file shall lie.

    Yields:
        The temporary `pathlib.Path`.

    Raises:
        OSError: the folder cannot be written, or the disk is full; the message names the path.

    Example:

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "run" / "note.txt"
    >>> with atomic_write(path) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> path.read_text()
    'whole'
    """
    path = Path(path).expanduser()
    target = Path(os.path.realpath(path))  # a symbolic link stays a link
    temporary = None
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        handle, temporary = tempfile.mkstemp(
            prefix=f"{_prefix(target)}{os.getpid()}-", suffix=target.name, dir=target.parent
        )
        os.close(handle)
        os.chmod(temporary, _mode(target))
        yield Path(temporary)
        _flush(temporary)
        os.replace(temporary, target)
        temporary = None
        _flush_folder(target.parent)
    except OSError as error:
        reason = (
            f"Could not write {str(path)!r}: {error.strerror or error}. If a file was there, it is unchanged."
        )
        raise (OSError(error.errno, reason) if error.errno else OSError(reason)) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def reserve(path, size):
    """Finds out whether so many bytes can be written to this file, and leaves it empty.

    HDF5 cannot cope with a disk that fills up while it writes (it fails again whenever it lets go of something), so
    that is tried before.

    Raises:
        OSError: there is no room.
    """
    with open(path, "rb+") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno not in (
                    errno.EOPNOTSUPP,
                    errno.EINVAL,
                    errno.ENOSYS,
                ):  # not on this file system
                    raise
        else:
            for _ in range(0, size, 1 << 20):
                file.write(bytes(1 << 20))
            file.flush()
        file.truncate(0)


def check_writable(path):
    """Finds out before hours of training, not after, that a weights file could not be written.

    Args:
        path: where a file shall be written; missing parent folders are created.

    Returns:
        The path, as `pathlib.Path`.

    Raises:
        ValueError: the name does not end in `.weights.h5`.
        OSError: the folder cannot be written.

    Example:

    >>> check_writable(tempfile.mkdtemp() + "/encoder.weights.h5").name
    'encoder.weights.h5'
    """
    path = check_name(path)
    check_folder(path)
    return path


def check_folder(path):
    """Raises an `OSError` unless a file could be written at a path; missing parent folders are created.

    Args:
        path: where a file shall be written.

    Example:

    >>> check_folder(tempfile.mkdtemp() + "/run.h5")
    """
    folder = Path(os.path.realpath(path)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = (
            f"Cannot write {str(path)!r}: {error.strerror or error}. Choose a folder that can be written."
        )
        raise OSError(error.errno, reason) from error


def _prefix(target):
    """How the temporary files of this target on this machine begin; the process id follows."""
    return f".{target.name.split('.', 1)[0]}.tmp-{socket.gethostname()}-"


def _remove_leftovers(target):
    """Removes temporary files of processes that were killed while they wrote this target."""
    if os.name != "posix":
        return
    prefix = _prefix(target)
    for file in target.parent.glob(f"{glob.escape(prefix)}*-*{glob.escape(target.name)}"):
        process = file.name[len(prefix) :].split("-", 1)[0]
        if process.isdecimal() and not _is_running(int(process)):
            with contextlib.suppress(OSError):
                file.unlink()


def _is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _mode(target):
    """Permissions of the file that is replaced, or the user's default ones (mkstemp's are private)."""
    try:
        return target.stat().st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _flush(path):
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder):
    """Makes the rename itself durable, where the system can open folders (not on Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
