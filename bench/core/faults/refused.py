"""What the system refuses: told from other errors, and told in one sentence."""

import errno

from mcr_bench.bench.core.home import shown
from mcr_bench.bench.errors import Unavailable, UserError

TOO_LONG = "this name is longer than the file system takes. Shorten it."
PLACE = "Give another place, or get the permission of whoever owns it."
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


def refused(error: BaseException) -> UserError | None:
    """What to tell of a file or folder that the system does not let a command use; None for other errors.

    >>> refused(PermissionError(errno.EACCES, "Permission denied", "/a"))
    UserError("'/a' cannot be used: Permission denied. Give another place, or get the permission of whoever owns it.")
    """
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.ENAMETOOLONG:
        return UserError(f"'{shown(error.filename or '')}': {TOO_LONG}")
    if error.errno not in REMEDIES or not isinstance(error.filename, str):
        return None
    remedy = REMEDIES[error.errno]
    kind = UserError if remedy is PLACE else Unavailable
    return kind(f"'{shown(error.filename)}' cannot be used: {error.strerror}. {remedy}")
