"""The Ray executor: the runs of a plan as tasks of a Ray cluster, which decides where each is trained."""

from importlib.util import find_spec
from pathlib import Path

import mcr_bench
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.base import ENTRY, TrainingPlan
from mcr_bench.bench.executors.cluster.dispatch import Dispatch
from mcr_bench.bench.executors.cluster.link import Bridge
from mcr_bench.bench.executors.cluster.messages import Room
from mcr_bench.bench.executors.cluster.orders import Setting
from mcr_bench.bench.executors.cluster.resources import share_of
from mcr_bench.bench.executors.jobs import Jobs
from mcr_bench.bench.record.store import database_file
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Observer, Outcome

CHECKED = "mcr_bench.bench.executors.cluster.checked:fit_checked"


class RayExecutor:
    """Trains by Ray; every run has a clean process on a node of the cluster.

    A run whose worker or node is lost is tried again, and the observer learns why: from its last checkpoint where the
    node saw the home of the record, else from its start.
    """

    def execute(self, plan: TrainingPlan, record: Record, observer: Observer) -> Outcome:
        """Train every run of the plan. UserError if there is no such cluster, or if it has no room for such runs."""
        share = share_of(plan.device, plan.resources, plan.runs_per_gpu)
        require_ray(plan.address)
        jobs = Jobs(plan, record, observer)
        if not len(jobs):
            with jobs:
                return jobs.outcome
        make_home(record.home)
        entry = CHECKED if plan.entry == ENTRY else plan.entry
        setting = Setting(plan.address, record.home, entry, share, Path.cwd(), mcr_bench.__version__)
        with Bridge(setting) as bridge:
            room = bridge.room()
            require_room(room)
            if not plan.local_record:
                require_server(room, record)
            with jobs:
                try:
                    Dispatch(plan, jobs, bridge, room).run()
                finally:
                    bridge.stop()  # before the runs that it trains count as killed
        return jobs.outcome


def require_ray(address: str | None) -> None:
    """UserError if Ray is not installed, or if the address is one that needs Ray's client."""
    if find_spec("ray") is None:
        raise UserError("--executor ray needs Ray, which is not installed. Install it: pip install 'mcr-bench[ray]'.")
    if address is not None and address.startswith("ray://"):
        raise UserError(
            f"--ray-address {address}: start the command on a machine of the cluster, with --ray-address auto."
        )


def make_home(home: Path) -> None:
    """Make the home folder of the record, where what Ray prints goes; UserError if it cannot be made."""
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder '{home}' cannot be made: {error}. Set MCR_BENCH_HOME to another one.") from error


def require_room(room: Room) -> None:
    """UserError if no node could train a run."""
    if not room.slots:
        nodes = "; ".join(f"{node.host}: cpu={node.cpus:g}, gpu={node.gpus}" for node in room.nodes.values())
        raise UserError(
            f"no node of the Ray cluster has room for a run of {room.share.text}. Nodes: {nodes}. Give smaller "
            "--resources, or another --device."
        )


def require_server(room: Room, record: Record) -> None:
    """UserError if several nodes are to fill a record in a local file."""
    if len(room.nodes) > 1 and database_file(record.uri) is not None:
        raise UserError(
            f"the record at '{record.address}' is a file on this machine, and the Ray cluster has "
            f"{len(room.nodes)} nodes. Start a tracking server (`mcr-bench server`), and give the address that it "
            "prints: --tracking-uri http://HOST:5000."
        )
