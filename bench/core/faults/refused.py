"""What the system refuses: told from other errors, and told in one sentence."""

import errno

from mcr_bench.bench.core.home import shown
from mcr_bench.bench.errors import Unavailable, UserError

TOO_LONG = "this name is longer than the file system takes. Shorten it."
PLACE = "Give another place, or get the permission of whoever owns it."
DISK = "See whether its disk is connected and sound, and give the same command again."
TAKEN = "This name is needed for something else: rename or delete what has it."
LOCKS = "Its file system cannot lock files: put the record (MCR_BENCH_HOME, --tracking-uri) on another one."
REMEDIES = {
    errno.EACCES: PLACE,
    errno.EPERM: PLACE,
    errno.EROFS: PLACE,
    errno.EIO: DISK,
    errno.ESTALE: DISK,
    errno.EEXIST: TAKEN,
    errno.EISDIR: TAKEN,
    errno.ENOTDIR: TAKEN,
    errno.ENOLCK: LOCKS,
    errno.EMFILE: "This many files may be open at once: `ulimit -n` shows how many, and raises it.",
    errno.ENFILE: "All programs of this machine together have too many files open: end some.",
}
NAMELESS = (errno.ENOLCK, errno.EIO, errno.ESTALE)  # what only a file system causes, whichever file it was


def refused(error: BaseException) -> UserError | None:
    """What to tell of a file or folder that the system does not let a command use; None for other errors.

    >>> refused(PermissionError(errno.EACCES, "Permission denied", "/a"))
    UserError("'/a' cannot be used: Permission denied. Give another place, or get the permission of whoever owns it.")
    """
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.ENAMETOOLONG:
        return UserError(f"'{shown(error.filename or '')}': {TOO_LONG}")
    named = isinstance(error.filename, str)  # who locks or reads an open file is not given its name
    if error.errno not in REMEDIES or not (named or error.errno in NAMELESS):
        return None
    name = f"'{shown(error.filename)}'" if named else "a file"
    remedy = REMEDIES[error.errno]
    kind = UserError if remedy in (PLACE, TAKEN) else Unavailable
    return kind(f"{name} cannot be used: {error.strerror}. {remedy}")
