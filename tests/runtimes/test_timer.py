"""The timer: rounds in turn, medians and quartiles, by a clock that the test winds."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convsurgeon.base.batch_axis import batch_of, rebatched
from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes import machine
from convsurgeon.runtimes.machine import threads
from convsurgeon.runtimes.memory import peak_bytes
from convsurgeon.runtimes.timer import Effort, Spread, Stopwatch, time_in_turn


class Clock:
    """Moves only when something runs."""

    def __init__(self) -> None:
        self.now = 0
        self.log: list[str] = []

    def __call__(self) -> int:
        """Nanoseconds since the test began."""
        return self.now

    def runner(self, name: str, takes: int) -> object:
        """Something that takes so many nanoseconds."""

        def run() -> None:
            self.log.append(name)
            self.now += takes

        return run


EFFORT = Effort(warm_up_s=0, timed_s=0, fewest=4, most=9, sample_s=0)


def test_things_are_timed_in_turn_starting_with_another_each_round() -> None:
    """After one warm-up run each, every round runs each thing once, and the first place wanders."""
    clock = Clock()
    runs = [clock.runner(name, 10) for name in "abc"]
    time_in_turn(runs, EFFORT, Stopwatch(clock))  # type: ignore[arg-type]
    assert "".join(clock.log) == "abc" + "abc" + "bca" + "cab" + "abc"


def test_medians_are_the_things_own_times() -> None:
    """Each spread holds its own thing's time and as many samples as the others."""
    clock = Clock()
    found = time_in_turn([clock.runner("a", 300), clock.runner("b", 500)], EFFORT, Stopwatch(clock))  # type: ignore[list-item]
    assert [spread.median_ns for spread in found] == [300, 500]
    assert [spread.samples for spread in found] == [4, 4]


def test_short_runs_are_repeated_until_a_sample_is_long_enough() -> None:
    """A run of 10 ns fills a sample of 1 µs a hundred times, and counts its hundredth; a longer one runs once."""
    clock = Clock()
    effort = Effort(warm_up_s=0, timed_s=0, fewest=1, most=1, sample_s=1e-6)
    short, long = time_in_turn([clock.runner("s", 10), clock.runner("l", 4000)], effort, Stopwatch(clock))  # type: ignore[list-item]
    assert (short.median_ns, long.median_ns) == (10, 4000)
    assert (clock.log.count("s"), clock.log.count("l")) == (1 + 100, 1 + 1)


@pytest.mark.parametrize(("timed_s", "rounds"), [(0, 4), (1e-9 * 650, 7), (1, 9)])
def test_rounds_end_when_the_time_is_spent(timed_s: float, rounds: int) -> None:
    """Never fewer than the fewest nor more than the most rounds; between them, the seconds decide."""
    clock = Clock()
    effort = Effort(warm_up_s=0, timed_s=timed_s, fewest=4, most=9, sample_s=0)
    (spread,) = time_in_turn([clock.runner("a", 100)], effort, Stopwatch(clock))  # type: ignore[list-item]
    assert spread.samples == rounds


def test_the_device_is_waited_for_before_the_clock_is_read() -> None:
    """Work that is still queued when a run returns counts for that run."""
    clock, queue = Clock(), [0]

    def submit() -> None:
        queue[0] += 70

    def wait() -> None:
        clock.now, queue[0] = clock.now + queue[0], 0

    (spread,) = time_in_turn([submit], EFFORT, Stopwatch(clock, wait))
    assert spread.median_ns == 70


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=30))
def test_a_spread_is_median_and_quartiles(samples: list[int]) -> None:
    """The median is the statistics module's, and lies between the quartiles, which lie between the extremes."""
    spread = Spread.of(samples)
    assert spread.median_ns == round(statistics.median(samples))
    assert spread.least_ns == min(samples)
    assert min(samples) <= spread.low_ns <= spread.median_ns <= spread.high_ns <= max(samples)
    assert spread.samples == len(samples)


def test_no_samples_have_no_spread() -> None:
    """Nothing can't be summarised; one sample can."""
    with pytest.raises(ValueError, match="no samples"):
        Spread.of([])
    assert Spread.of([7]) == Spread(median_ns=7, low_ns=7, high_ns=7, least_ns=7, samples=1)


def test_threads_are_put_back() -> None:
    """Inside, torch uses the number asked for; afterwards the one before; none is refused."""
    before = torch.get_num_threads()
    with threads(before + 1) as count:
        assert (count, torch.get_num_threads()) == (before + 1, before + 1)
    assert torch.get_num_threads() == before
    with threads(None) as count:
        assert count == before
    with pytest.raises(UsageError, match="0 threads can't run anything"), threads(0):
        pass


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_inputs_are_repeated_or_cut_to_a_batch(batch: int) -> None:
    """Every tensor with the batch axis follows; others stay; rows come round again in order."""
    inputs = Inputs(args=(torch.arange(6.0).view(2, 3), torch.tensor(4.0)), kwargs={"mask": torch.ones(2, 1)})
    found = rebatched(inputs, batch)
    assert batch_of(found) == batch
    assert torch.equal(found.args[0], inputs.args[0][torch.arange(batch) % 2])
    assert found.args[1] is inputs.args[1]
    assert found.kwargs["mask"].shape == (batch, 1)


def test_a_list_of_images_is_a_batch_of_them() -> None:
    """Detectors take a list of [C, H, W]; its length is the batch."""
    images = [torch.zeros(3, 8, 8), torch.ones(3, 9, 9)]
    found = rebatched(Inputs(args=(images,)), 3)
    assert [image.shape[-1] for image in found.args[0]] == [8, 9, 8]
    assert batch_of(Inputs(args=(images,))) == 2


def test_channels_last_inputs_stay_so() -> None:
    """Kernels choose by the memory format, so another batch size keeps it."""
    x = torch.zeros(1, 4, 5, 5).contiguous(memory_format=torch.channels_last)
    assert rebatched(Inputs(args=(x,)), 3).args[0].is_contiguous(memory_format=torch.channels_last)
    assert rebatched(Inputs(args=(x.contiguous(),)), 3).args[0].is_contiguous()


def test_batches_below_one_are_refused() -> None:
    """A batch of nothing, or inputs without a batch axis, are refused; one is fine."""
    inputs = Inputs(args=(torch.zeros(2, 3),))
    with pytest.raises(UsageError, match="a batch of 0 can't be run"):
        rebatched(inputs, 0)
    with pytest.raises(UsageError, match="no tensor with a batch axis"):
        rebatched(Inputs(args=(torch.tensor(1.0),)), 1)
    assert rebatched(inputs, 1).shapes() == ((1, 3),)


def test_peak_memory_sees_what_a_run_holds() -> None:
    """64 MiB written and freed inside a run are seen, to the page and some bookkeeping; nothing is next to nothing."""
    device = torch.device("cpu")
    held = peak_bytes(lambda: torch.ones(16 * 2**20).sum(), device)
    if held is None:
        pytest.skip("this system does not tell a process's high-water mark")
    assert 60 * 2**20 < held < 90 * 2**20
    idle = peak_bytes(lambda: None, device)
    assert idle is not None
    assert idle < 8 * 2**20


@pytest.mark.parametrize(
    ("others", "own", "said"),
    [(0, 0, None), (12, 0, None), (36, 0, "other programs took 60% of the processor"), (0, 60, None)],
)
def test_only_other_programs_make_a_machine_busy(
    others: int, own: int, said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 60 ticks of all cores, more than a fifth in other hands are told; this program's own work is not."""
    stat = tmp_path / "stat"
    clock = {"seconds": 5.0}

    def ticks(user: int, idle: int) -> None:
        stat.write_text(f"cpu  {1000 + user} 0 50 {9000 + idle} 10 0 3 0 0 0\ncpu0 1 2 3 4\n")

    def sleep(_seconds: float) -> None:
        ticks(others + own, 60 - others - own)
        clock["seconds"] += own / os.sysconf("SC_CLK_TCK")

    ticks(0, 0)
    monkeypatch.setattr(machine, "_STAT", stat)
    monkeypatch.setattr(machine.time, "sleep", sleep)
    monkeypatch.setattr(machine.time, "process_time", lambda: clock["seconds"])
    found = machine.busy()
    assert (found is None) if said is None else (found is not None and said in found)


def test_a_system_that_does_not_tell_is_never_called_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Linux's counters nothing is said."""
    monkeypatch.setattr(machine, "_STAT", tmp_path / "nothing")
    assert machine.busy() is None


@pytest.mark.parametrize(
    ("precision", "capability", "allowed", "named"),
    [
        ("float32", (8, 0), True, "float32 (TF32)"),
        ("float32", (8, 0), False, "float32"),
        ("float32", (7, 5), True, "float32"),
        ("float16", (8, 0), True, "float16"),
    ],
)
def test_a_place_says_where_float32_is_rounded(
    precision: str, capability: tuple[int, int], allowed: bool, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TF32 needs float32 weights, a GPU that has it, and the caller's permission; a CPU has none."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "a GPU")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    assert machine.place("eager", precision, torch.device("cuda")).precision == named
    assert machine.place("eager", precision, torch.device("cpu")).precision == precision
