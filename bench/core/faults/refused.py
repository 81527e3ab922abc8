"""What the system refuses: told from other errors, and told in one sentence."""

import errno

PLACE = "Give another place, or get the permission of whoever owns this one."
DISK = "See whether its disk is connected and sound, and give the same command again."
REMEDIES = {
    errno.EACCES: PLACE,
    errno.EPERM: PLACE,
    errno.EROFS: PLACE,
    errno.EIO: DISK,
    errno.ESTALE: DISK,
    errno.EMFILE: "This many files may be open at once: `ulimit -n` shows how many, and raises it.",
    errno.ENFILE: "All programs of this machine together have too many files open: end some.",
}


def refused(error: BaseException) -> str | None:
    """What to tell of a file or folder that the system does not let a command use; None for other errors.

    >>> refused(PermissionError(errno.EACCES, "Permission denied", "/a"))
    "'/a' cannot be used: Permission denied. Give another place, or get the permission of whoever owns this one."
    """
    if not isinstance(error, OSError) or error.errno not in REMEDIES or error.filename is None:
        return None
    return f"'{error.filename}' cannot be used: {error.strerror}. {REMEDIES[error.errno]}"
