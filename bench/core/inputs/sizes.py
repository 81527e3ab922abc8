"""How much memory the content of one file may take, which is asked before it is read: small files may hold a lot."""

import os
import re
from contextlib import suppress
from pathlib import Path

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.printable import in_line

OPTION = "MCR_BENCH_FILE_MEMORY"
SHARE = 6  # of the free memory: 5.3 times the arrays of a file were measured while parts are cut and standardised
ALWAYS = 2**28  # bytes that a file may take however little memory is free
POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
LARGEST = 10**18  # bytes, above which nothing is counted exactly
ROOT = Path("/sys/fs/cgroup")


def check_size(path: Path, size: int, packed: bool = False) -> None:
    """UserError if the content of a file needs more memory than one file may take; it names the option that allows it.

    size: the bytes of memory that reading takes. packed: whether its size on disk is added.
    """
    reason = excess(size)
    if not reason:
        return
    disk = f" (its size on disk is {shown(path.stat().st_size)})" if packed else ""
    raise UserError(f"'{path}' {reason}{disk}. Nothing was read.")


def excess(size: int) -> str:
    """Why so many bytes are more than one file may take, with the option that allows them; empty if they are not."""
    if size <= ALWAYS and OPTION not in os.environ:  # of thousands of small files it is asked, too
        return ""
    most = most_bytes()
    if size <= most:
        return ""
    why = f"as {OPTION} says" if os.environ.get(OPTION) else "a sixth of what is free, as content is copied in use"
    return (
        f"needs {shown(size)} of memory, but a file may take {shown(most)} ({why}; if the file can be trusted, allow "
        f"more by the environment variable {OPTION}={_enough(size)})"
    )


def most_bytes() -> int:
    """The most memory in bytes that the content of one file may take. UserError if the variable is not a size."""
    text = os.environ.get(OPTION, "")
    if not text:
        return max(ALWAYS, free_memory() // SHARE)
    match = re.fullmatch(r"(\d{1,15})(?:([KMGT])(I?)B)?", text.replace(" ", "").upper())
    if match is None:
        raise UserError(f"{OPTION}={in_line(text[:40])}: not allowed. Give a size, such as 8GB, 500MB or 2GiB.")
    base = 1024 if match[3] else 1000
    return int(match[1]) * int(base ** POWERS[match[2] or ""])


def free_memory() -> int:
    """The bytes of memory that this process may still take: what the machine has, or less if its container has less."""
    return min([_of_machine(), *_of_container()])


def shown(size: int) -> str:
    """A number of bytes in words.

    >>> shown(6_000_000), shown(6_144_000_000), shown(10**30)
    ('6.0 MB', '6.1 GB', 'more than 1,000,000 TB')
    """
    if size > LARGEST:
        return "more than 1,000,000 TB"
    unit, name = next(((u, n) for u, n in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")) if size >= u), (1000, "kB"))
    return f"{size / unit:,.1f} {name}"


def _enough(size: int) -> str:
    """The value of the variable that allows a file of this size."""
    return f"{-(-min(size, LARGEST) // 10**9)}GB"


def _of_machine() -> int:
    with suppress(OSError, ValueError, IndexError):  # Linux
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:")))
    with suppress(OSError, ValueError):  # other systems tell only what is built in
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return ALWAYS


def _of_container() -> list[int]:
    """What the limits of control groups leave, version 2 or 1; files that the system keeps in memory can be dropped."""
    left = []
    for folder, limit, used in _groups():
        with suppress(OSError, ValueError):
            kept = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            taken = int((folder / used).read_text()) - int(kept.get("inactive_file", 0))
            left.append(max(0, int((folder / limit).read_text()) - taken))
    return left


def _groups() -> list[tuple[Path, str, str]]:
    """The folders of this process's control groups of memory, with the names of their files of limit and use."""
    groups: list[tuple[Path, str, str]] = []
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kind, place = line.split(":", 2)
            if not kind:
                groups += [(ROOT / part, "memory.max", "memory.current") for part in (place[1:], "")]
            elif "memory" in kind.split(","):
                files = ("memory.limit_in_bytes", "memory.usage_in_bytes")
                groups += [(ROOT / "memory" / part, *files) for part in (place[1:], "")]
    return groups
