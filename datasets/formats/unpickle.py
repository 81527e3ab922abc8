"""Pickles of arrays, read without running anything: arrays and plain containers are returned, all else is refused.

A pickle is a small program that may import and call anything. Here its opcodes (protocols 0 to 5) are interpreted by a
machine that can neither import nor call: the few names that pickled arrays need are replaced by functions of this
project, and any other name is an error. The contents of arrays stay in the mapped file.

A subclass of `pickle.Unpickler` with such a list in `find_class` has two disadvantages. It copies all content (414 MB
of a file of 435 MB, instead of 3 MB here, and the same again in each worker that opens the file). And it hashes what
a file gives as a key, so that tuples nested 200,000 deep end the process without an error.
"""

import mmap
import pickle
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcr_bench.bench.core.inputs.sizes import most_bytes
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.formats.foreign import wrapping
from mcr_bench.datasets.formats.npz import is_pointer, pointer_error
from mcr_bench.datasets.formats.text_mode import begins_as_text, changed_as_text, changed_inside
from mcr_bench.datasets.formats.unpickled_arrays import (
    CALLS,
    NAMES,
    Blank,
    Name,
    OfObjects,
    Type,
    array,
    in_order,
    keys,
)
from mcr_bench.datasets.formats.unpickled_values import bulk, native, quoted, text, whole, whole_line

MOST_STEPS = 5_000_000  # files of 20,000 samples need some 200,000 steps
PER_STEP = 320  # bytes of memory: an empty set, and its place in the memo
COPIES, SPARE = 4, 2**20  # calls copy the file's content once, or parts of it as often as this and some more
ZIP = b"PK\x03\x04"
MOST_TEXT = 200  # characters of a file that a message quotes
DAMAGE = (ValueError, LookupError, TypeError, OverflowError, MemoryError, RecursionError, struct.error)


class Truncated(Exception):
    """The file ends before the pickle does."""


def read_pickle(path: Path) -> Any:
    """The content of a pickle: dict, list, tuple, set, numbers, text, bytes, None, and arrays of numbers or of text.

    Arrays of any shape are read-only views of the mapped file, except those that Python 3 wrote with protocol 0 to 2,
    whose content is encoded as text. Byte strings over 64 KiB are memoryviews of the file. UserError with file and
    remedy if it is not a pickle, is damaged, or holds anything else; nothing in it is ever run.
    """
    try:
        if is_pointer(path):
            raise pointer_error(path)
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error}. Check its permissions, or copy it again.") from error
    except ValueError as error:  # an empty file cannot be mapped
        raise UserError(f"'{path}' is empty. Copy it again.") from error
    if begins_as_text(memoryview(data)):
        raise UserError(f"'{path}' is damaged: {changed_as_text(memoryview(data))}")
    try:
        return Machine(path, data).run()
    except (UserError, Truncated, *DAMAGE) as error:
        raise _explained(path, memoryview(data), error) from error


def _explained(path: Path, data: memoryview, error: Exception) -> UserError:
    """The error for the user, with the cause if the content of the file shows it."""
    if wrapped := wrapping(bytes(data[:64])):
        return UserError(f"'{path}' is not a pickle. {wrapped}")
    if bytes(data[:4]) == ZIP:
        return UserError(
            f"'{path}' is a zip file, not a pickle. Unpack it. If it was written by torch.save, read it with "
            "torch.load and save the result with pickle.dump."
        )
    changed = changed_as_text(data)
    if isinstance(error, UserError):
        return UserError(f"'{path}' is damaged: {changed}") if changed else error
    if isinstance(error, OfObjects) and not changed:
        return UserError(
            f"'{path}' holds {error}, such as arrays of arrays. Save arrays of numbers, such as np.stack(list(x)), and "
            "pickle them again; if the file was only copied, it may be damaged: copy it again in binary mode."
        )
    changed = changed or changed_inside(data)
    reason = f" ({str(error)[:MOST_TEXT]})" if str(error) else ""
    if changed:
        return UserError(f"'{path}' is damaged{reason}: {changed}")
    if isinstance(error, Truncated):
        return UserError(f"'{path}' ends early: it is truncated, or not a pickle. Copy it again.")
    return UserError(f"'{path}' is damaged, or not a pickle of arrays{reason}. Copy it again.")


class Machine:
    """The stack machine of pickle.

    stack: the values.
    marks: heights of the stack to which it can be emptied.
    memo: number -> value that is used again.
    blanks: id of an unfinished array -> its numbers in the memo.
    copied: how much of texts and lists calls have copied; a value in the memo may be copied again and again.
    """

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.view, self.at = path, data, memoryview(data), 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.blanks: dict[int, list[int]] = {}
        self.copied = 0

    def run(self) -> Any:
        """Interpret the pickle; returns the value on the stack at its end."""
        most = min(MOST_STEPS, most_bytes() // PER_STEP)
        for _ in range(most):
            code = bytes(self.take(1))
            if code == pickle.STOP:
                return _plain(self.pop())
            if code not in ACTIONS:
                self.refuse_code(code)
            ACTIONS[code](self)
        raise ValueError(f"more than {most} steps")

    def take(self, count: int) -> memoryview:
        """The next bytes of the file."""
        if count < 0:
            raise ValueError("a negative length")
        if self.at + count > len(self.view):
            raise Truncated
        self.at += count
        return self.view[self.at - count : self.at]

    def number(self, form: str) -> Any:
        """The next number; form: its format as in `struct`."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> bytes:
        """The bytes up to the end of the line."""
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise Truncated
        return bytes(self.take(end + 1 - self.at)[:-1])

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("the stack is empty")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        """Remove and return everything since the last mark."""
        start = self.marks.pop()
        items, self.stack[start:] = self.stack[start:], []
        return items

    def top(self, kind: type) -> Any:
        """The container on top of the stack; ValueError unless it has exactly this type."""
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"a {kind.__name__} to fill is missing")
        return self.stack[-1]

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]
        if isinstance(self.stack[-1], Blank):
            self.blanks.setdefault(id(self.stack[-1]), []).append(key)

    def name(self, module: object, name: object) -> None:
        """Push the symbol of an allowed name; UserError for any other."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.refuse("a name that is not text")
        if f"{module} {name}" not in NAMES:
            raise self.refuse(f"{module}.{name}")
        self.stack.append(Name(NAMES[f"{module} {name}"]))

    def refuse(self, what: str) -> UserError:
        return UserError(
            f"'{self.path}' holds '{what[:MOST_TEXT]}', which is neither an array nor a plain container. "
            "Nothing in it was run. Download the file from its publisher, or save it again as a dict of numpy arrays "
            "of numbers or text."
        )

    def refuse_code(self, code: bytes) -> None:
        if code == pickle.INST:
            raise self.refuse(f"{self.line().decode()}.{self.line().decode()}")
        for opcode in pickletools.opcodes:
            if opcode.code == code.decode("latin-1"):
                raise self.refuse(f"opcode {opcode.name}")
        raise ValueError(f"byte {code!r} is not an opcode")

    def reduce(self) -> None:
        """Replace a symbol and the arguments above it by the result of its function."""
        arguments, call = self.pop(), self.pop()
        if not isinstance(call, Name) or type(arguments) is not tuple:
            raise ValueError("a call without a name")
        if call.kind not in CALLS:
            raise ValueError(f"a call of {call.kind}")
        self.count(arguments)
        self.stack.append(CALLS[call.kind](*arguments))

    def count(self, arguments: tuple[Any, ...]) -> None:
        """Count what a call may copy; ValueError if calls have copied the file's content several times."""
        self.copied += sum(len(one) for one in arguments if isinstance(one, str | list | tuple))
        if self.copied > COPIES * len(self.view) + SPARE:
            raise ValueError("the same content is copied again and again")

    def build(self) -> None:
        """Complete an array or a dtype with its state."""
        state = self.pop()
        target = self.stack[-1]
        if type(state) is not tuple or not isinstance(target, Blank | Type):
            raise self.refuse(f"the state of a {type(target).__name__}")
        if isinstance(target, Type):
            target.dtype = in_order(target, state)
            return
        self.count(state[-1:])
        self.stack[-1] = array(*state[-4:])
        for key in self.blanks.pop(id(target), ()):
            self.memo[key] = self.stack[-1]


def _plain(result: Any) -> Any:
    """The result; ValueError if a symbol or an unfinished array is left anywhere in it."""
    waiting, seen = [result], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Name | Type | Blank):
            raise ValueError("an array without content")
        if isinstance(value, dict | list | tuple | set | frozenset) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return result


Action = Callable[[Machine], Any]


def _push(make: Callable[[], Any]) -> Action:
    return lambda m: m.stack.append(make())


def _numbers(form: str) -> Action:
    return lambda m: m.stack.append(m.number(form))


def _sized(form: str, read: Callable[[memoryview], Any]) -> Action:
    return lambda m: m.stack.append(read(m.take(m.number(form))))


def _lines(read: Callable[[bytes], Any]) -> Action:
    return lambda m: m.stack.append(read(m.line()))


def _gather(read: Callable[[list[Any]], Any]) -> Action:
    return lambda m: m.stack.append(read(m.pop_to_mark()))


def _tuple(count: int) -> Action:
    return lambda m: m.stack.append(tuple(reversed([m.pop() for _ in range(count)])))


def _dict(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(keys(items[::2]), items[1::2], strict=True))


def _pair(m: Machine) -> None:
    value, key = m.pop(), m.pop()
    m.top(dict).update(_dict([key, value]))


def _append(m: Machine) -> None:
    value = m.pop()
    m.top(list).append(value)


def _stack_name(m: Machine) -> None:
    name, module = m.pop(), m.pop()
    m.name(module, name)


def _extend(kind: type, read: Callable[[list[Any]], Any] = lambda items: items) -> Action:
    def act(m: Machine) -> None:
        items = read(m.pop_to_mark())
        target = m.top(kind)
        (target.extend if kind is list else target.update)(items)

    return act


ACTIONS: dict[bytes, Action] = {
    pickle.PROTO: lambda m: m.take(1),
    pickle.FRAME: lambda m: m.take(8),
    pickle.MARK: lambda m: m.marks.append(len(m.stack)),
    pickle.POP: lambda m: m.pop(),
    pickle.POP_MARK: lambda m: m.pop_to_mark(),
    pickle.DUP: lambda m: m.stack.append(m.stack[-1]),
    pickle.NONE: _push(lambda: None),
    pickle.NEWTRUE: _push(lambda: True),
    pickle.NEWFALSE: _push(lambda: False),
    **{getattr(pickle, f"EMPTY_{kind.__name__.upper()}"): _push(kind) for kind in (list, tuple, dict, set)},
    pickle.BININT: _numbers("<i"),
    pickle.BININT1: _numbers("<B"),
    pickle.BININT2: _numbers("<H"),
    pickle.BINFLOAT: _numbers(">d"),
    pickle.LONG1: _sized("<B", whole),
    pickle.LONG4: _sized("<i", whole),
    pickle.SHORT_BINBYTES: _sized("<B", bulk),
    pickle.BINBYTES: _sized("<I", bulk),
    pickle.BINBYTES8: _sized("<Q", bulk),
    pickle.BYTEARRAY8: _sized("<Q", bulk),
    pickle.SHORT_BINSTRING: _sized("<B", native),
    pickle.BINSTRING: _sized("<i", native),
    pickle.SHORT_BINUNICODE: _sized("<B", text),
    pickle.BINUNICODE: _sized("<I", text),
    pickle.BINUNICODE8: _sized("<Q", text),
    pickle.INT: _lines(whole_line),
    pickle.LONG: _lines(whole_line),
    pickle.FLOAT: _lines(float),
    pickle.STRING: _lines(quoted),
    pickle.UNICODE: _lines(lambda line: str(line, "raw-unicode-escape")),
    pickle.TUPLE: _gather(tuple),
    pickle.TUPLE1: _tuple(1),
    pickle.TUPLE2: _tuple(2),
    pickle.TUPLE3: _tuple(3),
    pickle.LIST: _gather(list),
    pickle.DICT: _gather(_dict),
    pickle.FROZENSET: _gather(lambda items: frozenset(keys(items))),
    pickle.APPEND: _append,
    pickle.APPENDS: _extend(list),
    pickle.SETITEM: _pair,
    pickle.SETITEMS: _extend(dict, _dict),
    pickle.ADDITEMS: _extend(set, keys),
    pickle.PUT: lambda m: m.remember(int(m.line())),
    pickle.BINPUT: lambda m: m.remember(m.number("<B")),
    pickle.LONG_BINPUT: lambda m: m.remember(m.number("<I")),
    pickle.MEMOIZE: lambda m: m.remember(len(m.memo)),
    pickle.GET: lambda m: m.stack.append(m.memo[int(m.line())]),
    pickle.BINGET: lambda m: m.stack.append(m.memo[m.number("<B")]),
    pickle.LONG_BINGET: lambda m: m.stack.append(m.memo[m.number("<I")]),
    pickle.GLOBAL: lambda m: m.name(m.line().decode(), m.line().decode()),
    pickle.STACK_GLOBAL: _stack_name,
    pickle.REDUCE: Machine.reduce,
    pickle.BUILD: Machine.build,
}
