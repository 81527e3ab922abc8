"""What Ray reports of a task that did not end by itself, in the words of a user."""

from typing import Any

from mcr_bench.bench.errors import in_words, one_line
from mcr_bench.bench.executors.cluster.messages import Lost
from mcr_bench.bench.runs.events import RunFailed

NOT_INSTALLED = "failed to import"  # in Ray's words for a function whose module a node does not have


def lost_by(error: Exception, key: str, kinds: Any) -> Lost | RunFailed:
    """How the run of this key was lost. kinds: the module `ray.exceptions`, which has one for each way."""
    text = one_line(in_words(error))
    if isinstance(error, kinds.OutOfMemoryError):
        return Lost("its node ran out of memory, and Ray ended it. Fewer --jobs or more cpu= per run help")
    if isinstance(error, kinds.NodeDiedError):
        return Lost("its node was lost", node=True)
    if isinstance(error, kinds.WorkerCrashedError):
        return Lost("its worker process was killed")
    if isinstance(error, kinds.ObjectLostError):
        return Lost("its node was lost before its results were here", node=True)
    if NOT_INSTALLED in str(error) or isinstance(error, ImportError):
        text = "mcr-bench is not installed on the node that was to train it. Install it on every node"
    return RunFailed(key, f"{text}\n", text)
