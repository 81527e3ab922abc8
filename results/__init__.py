"""Published numbers (committed) and generated tables (not committed). Called, it gives the runs of the record.

`mcr_bench.results` is this package as soon as something reads its files, and the function of the Python interface.
"""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *arguments: Any, **named: Any) -> object:
        from mcr_bench.bench.api.reading import results

        return results(*arguments, **named)


sys.modules[__name__].__class__ = _Callable
