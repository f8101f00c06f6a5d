"""Distributed processing by the processes that `torchrun` starts, on one machine or several."""

import gc
import os
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from ntire_sr.core.errors import NtireSrError, require, shorten
from ntire_sr.core.variables import REMEDY, torchrun_number

if TYPE_CHECKING:  # torch takes seconds to import, and a single process does not need it here
    from torch import Tensor, nn

SECONDS_BEFORE_MESSAGE = 10  # of waiting for other processes
START_MINUTES = 30  # in which all processes must have started

Value = TypeVar("Value")


def rank_and_world_size() -> tuple[int, int]:
    """Rank of this process, from 0, and number of processes: (0, 1) unless `torchrun` started it."""
    # some job systems set WORLD_SIZE for other programs; torchrun also sets MASTER_ADDR
    if "MASTER_ADDR" not in os.environ or "RANK" not in os.environ:
        return 0, 1
    rank, world_size = torchrun_number("RANK"), torchrun_number("WORLD_SIZE", 1, least=1)
    require(rank < world_size, f"the variable RANK is {rank}, and WORLD_SIZE {world_size}", REMEDY)
    return rank, world_size


def _join_group(rank: int, world_size: int) -> None:
    """Connect this process to the others; a message on standard error says what it waits for.

    Raises:
        UsageError: the address of the main process is not complete.
        NtireSrError: the processes cannot be reached, or are not there after START_MINUTES.
    """
    import torch.distributed
    from torch.distributed.rendezvous import rendezvous

    host, port = os.environ["MASTER_ADDR"], torchrun_number("MASTER_PORT")
    address = f"{host}:{port}"
    require(bool(host) and port < 2**16, f"MASTER_ADDR and MASTER_PORT give no address: {address}", REMEDY)
    gpus = torch.cuda.is_available() and torch.distributed.is_nccl_available()
    others = [str(process) for process in range(world_size) if process != rank]
    missing = f"process{'' if len(others) == 1 else 'es'} {shorten(others)}"
    waiting = threading.Timer(
        SECONDS_BEFORE_MESSAGE,
        lambda: print(
            f"process {rank} of {world_size} (RANK and WORLD_SIZE) waits for {missing} at {address}, at most {START_MINUTES} "
            f"minutes; to start them: {REMEDY}",
            file=sys.stderr,
            flush=True,
        ),
    )
    waiting.daemon = True
    waiting.start()
    try:
        store, _, _ = next(rendezvous("env://", timeout=timedelta(minutes=START_MINUTES)))
        run_time = timedelta(days=2)  # the slowest process may be hours behind the fastest
        store.set_timeout(run_time)
        torch.distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus else "gloo",
            store=store,
            rank=rank,
            world_size=world_size,
            timeout=run_time,
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise NtireSrError(
            f"process {rank} of {world_size} cannot join the others at {address}: {str(error).splitlines()[0]}",
            f"another MASTER_PORT, or {REMEDY}",
        ) from error
    finally:
        waiting.cancel()


class ProcessGroup:
    """The group of processes that share a task; a single process unless `torchrun` started it.

    >>> alone = ProcessGroup()
    >>> alone.rank, alone.world_size, alone.shard([1, 2, 3])
    (0, 1, [1, 2, 3])
    """

    def __init__(self) -> None:
        self.rank, self.world_size = rank_and_world_size()
        if self.world_size > 1:
            import torch

            if not torch.distributed.is_initialized():
                _join_group(self.rank, self.world_size)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def shard(self, items: list[Value]) -> list[Value]:
        """This process's part of a list that all processes have: every `world_size`-th item from `rank` on."""
        return items[self.rank :: self.world_size]

    def broadcast_from_main(self, make: Callable[[], Value]) -> Value:
        """The return value of `make`, which only the main process calls, on all processes.

        Raises:
            NtireSrError: `make` failed; the main process raises its error as it is, the others its first line.
        """
        if self.world_size == 1:
            return make()
        import torch.distributed

        box: list[Any] = [None, None]
        raised: Exception | None = None
        if self.is_main:
            try:
                box[0] = make()
            except Exception as error:  # whatever it is: the others must not wait for ever
                raised = error
                box[1] = str(error).splitlines()[0] if str(error) else type(error).__name__
        torch.distributed.broadcast_object_list(box, src=0)
        if raised:
            raise raised
        if box[1] is not None:
            raise NtireSrError(f"process {self.rank} stops, since the main process failed: {box[1]}")
        value: Value = box[0]
        return value

    def on_main(self, make: Callable[[], Value]) -> Value | None:
        """The return value of `make` on the main process; None on the others, which wait for it.

        Raises:
            NtireSrError: as in `broadcast_from_main`.
        """
        made: list[Value] = []
        self.broadcast_from_main(lambda: made.append(make()))
        return made[0] if made else None

    def all_gather(self, value: Value) -> list[Value]:
        """The values of all processes, in the order of their ranks; waits for all of them."""
        if self.world_size == 1:
            return [value]
        import torch.distributed

        values: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(values, value)
        return values

    def wrap_ddp(self, module: "nn.Module") -> "nn.Module":
        """The module in DistributedDataParallel, which averages gradients over all processes during backward.

        Where each loss is a mean over equally many crops, that is the gradient of the whole batch. The
        module's buffers must not depend on the crops, since they are not synchronised.
        """
        if self.world_size == 1:
            return module
        from torch.nn.parallel import DistributedDataParallel

        # Without find_unused_parameters DDP rebuilds its buckets after the first step, and the gradients of
        # three or more processes are then summed in another order: a resumed run would differ in the last bits.
        return DistributedDataParallel(
            module, broadcast_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=True
        )

    def all_reduce_sum(self, numbers: "Tensor") -> "Tensor":
        """The sum of a tensor of any shape over all processes, as a new tensor."""
        if self.world_size == 1:
            return numbers
        import torch.distributed

        summed = numbers.clone()
        torch.distributed.all_reduce(summed)
        return summed

    def all_reduce_mean(self, terms: "Mapping[str, Tensor]") -> dict[str, float]:
        """Means over all processes of scalar tensors, by name. Waits for the device once."""
        import torch

        stacked = torch.stack([value.detach().float() for value in terms.values()])
        return dict(zip(terms, (self.all_reduce_sum(stacked) / self.world_size).tolist(), strict=True))

    def assert_same(self, **facts: object) -> None:
        """Check that each of these values is the same on all processes.

        Raises:
            NtireSrError: a value differs; its name and its value on each process are given.
        """
        gathered = self.all_gather(facts)
        for name in facts:
            values = [str(values_here[name]) for values_here in gathered]
            if len(set(values)) > 1:
                listed = "; ".join(f"process {number}: {value}" for number, value in enumerate(values))
                raise NtireSrError(
                    f"the processes differ in {name} ({listed})",
                    "give every machine the same files and settings",
                )

    def any(self, here: bool) -> bool:
        """Whether `here` is true on any process."""
        if self.world_size == 1:
            return here
        import torch

        return bool(self.all_reduce_sum(torch.tensor(int(here))))

    def close(self) -> None:
        """Leave the process group.

        Call it last, and only if all processes do: after an error the others may still be waiting for this one,
        until torchrun stops them.
        """
        if self.world_size > 1:
            import torch.distributed

            # networks in reference cycles, too: freed after the group, their reducers abort the process now and then
            gc.collect()
            if torch.distributed.is_initialized():
                torch.distributed.barrier()  # no process closes its connections while another still uses them
                torch.distributed.destroy_process_group()
