"""What runs in parts cost: beside the plain command, by their number, and relabelled from vectors alone.

    python -m benchmarks.parts overhead --model ViT-B-32 --pretrained FILE [--pictures 5000] [--rounds 3]
    python -m benchmarks.parts plan [--parts 100000] [--part-size 1]
    python -m benchmarks.parts vectors --model ViT-B-32 --pretrained FILE [--rows 10000000]

`overhead`: wall seconds of `embed -o`, of `--into` in one process, and of `--into --cluster` with one actor that has all cores of this
machine, in turn; the cluster was started before. `plan`: seconds and memory (RSS at most) of planning so many parts, of the account at
the end, and of finding them all done. `vectors`: a run of made vectors, whose parts are links to one file, gets other labels by parts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zsclip.cluster.account import Account
from zsclip.cluster.part_file import PartWriter, Tally, part_name
from zsclip.cluster.plan import Part, Slice
from zsclip.cluster.results import LocalFolder
from zsclip.cluster.tasks import PlannedTasks
from zsclip.demo.scenes import PAIRS, draw, random_scene
from zsclip.output.parquet import name_columns, name_fields, vector_column
from zsclip.unit_vectors import normalise

REPOSITORY = Path(__file__).parents[1]
os.environ.update(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_USAGE_STATS_ENABLED="0")  # before Ray is imported


def zsclip(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "zsclip", *arguments]


def timed(command: list[str]) -> tuple[float, float]:
    """Wall seconds, and the most memory of it and its children in MB."""
    started = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    told = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, told.decode()
    return time.monotonic() - started, usage.ru_maxrss / 1e3


def overhead(args: argparse.Namespace, folder: Path) -> None:
    from ray.cluster_utils import Cluster

    photos, rng = folder / "photos", random.Random(16)
    photos.mkdir()
    for number in range(args.pictures):
        draw(random_scene(rng, PAIRS[number % 64]), rng, (500, 375)).save(photos / f"{number:05}.jpg", quality=85)
    model = ("-m", args.model, "--pretrained", args.pretrained, "--precision", "fp32", "-q")
    os.environ["PYTHONPATH"] = str(REPOSITORY)
    cores = len(os.sched_getaffinity(0))
    node = {
        "num_cpus": cores,
        "object_store_memory": 80 << 20,
        "node_ip_address": "127.0.0.1",
        "include_dashboard": False,
    }
    cluster = Cluster(initialize_head=True, head_node_args=node)
    ways = {
        "embed -o": (str(photos), "--no-cache", "-o", str(folder / "x.npz")),
        "embed --into": (str(photos), "--into", str(folder / "out")),
        "embed --into --cluster": (str(photos), "--into", str(folder / "out"), "--cluster", cluster.address),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    try:
        for _ in range(args.rounds):
            for way, arguments in ways.items():
                shutil.rmtree(folder / "out", ignore_errors=True)
                seconds[way].append(timed(zsclip("embed", *arguments, *model))[0])
    finally:
        cluster.shutdown()
    plain = seconds["embed -o"]
    for way, took in seconds.items():
        ratios = [one / other for one, other in zip(took, plain, strict=True)]
        said = " ".join(f"{ratio:.3f}" for ratio in ratios)
        print(
            f"{way:<24}{statistics.median(took):8.1f} s  {statistics.median(ratios):.3f} of the plain command ({said})"
        )


def plan(args: argparse.Namespace, folder: Path) -> None:
    results = LocalFolder(str(folder / "out"))

    def parts() -> Iterator[Part]:
        for number in range(args.parts):
            yield [Slice(f"/pictures/{number // 100:06}/{number:09}-{one:04}.jpg") for one in range(args.part_size)]

    started = time.monotonic()
    tasks = PlannedTasks(results, parts(), args.part_size)
    taken, first = 0, 0.0
    while not tasks.ended:
        if tasks.take() is None:
            time.sleep(0.002)
            continue
        first = first or time.monotonic() - started
        taken += 1
    print(
        f"planned {taken:,} parts of {args.part_size:,}: {time.monotonic() - started:.1f} s, the first after {first:.2f} s; {memory()}"
    )
    size = sum(path.stat().st_size for path in (folder / "out").rglob("*.parquet"))
    print(f"the plan has {size / 1e6:,.1f} MB in {sum(1 for _ in (folder / 'out').rglob('*.parquet')):,} files")
    started, account = time.monotonic(), Account()
    for number in range(args.parts):
        account.add(number, Tally(args.part_size, {}, "0" * 64))
    account.finish(results, args.parts)
    print(f"account and manifest: {time.monotonic() - started:.1f} s; {memory()}")
    if args.part_size == 1:
        for number in range(args.parts):
            (folder / "out" / part_name(number)).touch()
        started = time.monotonic()
        again = PlannedTasks(results, iter(()), args.part_size)
        while not again.ended:
            again.take()
        print(f"found all {again.were_done:,} done: {time.monotonic() - started:.1f} s; {memory()}")


def memory() -> str:
    return f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f} MB"


def vectors(args: argparse.Namespace, folder: Path) -> None:
    picture = folder / "one.png"
    draw(random_scene(random.Random(1), PAIRS[0]), random.Random(1)).save(picture)
    out, model = folder / "out", ("-m", args.model, "--pretrained", args.pretrained, "-q")
    subprocess.run(zsclip("embed", str(picture), "--into", str(out), *model), check=True)
    results, rows = LocalFolder(str(out)), min(args.rows, args.part_rows)
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(out / part_name(0))
    dimension = schema.field("vector").type.list_size
    rng = np.random.default_rng(16)
    with PartWriter(results, 0, {}) as writer:
        for start in range(0, rows, 10_000):
            count = min(10_000, rows - start)
            made = normalise(rng.standard_normal((count, dimension)).astype(np.float32))
            names = [f"photos/{number:012}.jpg" for number in range(start, start + count)]
            places = pyarrow.array(range(start, start + count), pyarrow.int32())
            fields = pyarrow.schema([*name_fields(), ("place", pyarrow.int32()), schema.field("vector")])
            writer.add(
                pyarrow.RecordBatch.from_arrays(
                    [*name_columns(names), places, vector_column(made, np.float32)], schema=fields
                )
            )
        tally = writer.close(fields)
    parts, account = args.rows // rows, Account()
    for number in range(parts):
        if number:
            os.link(out / part_name(0), out / part_name(number))
        account.add(number, tally)
    results.put("_zsclip/plan.json", json.dumps({"parts": parts, "slices": parts, "part_size": rows}).encode())
    account.finish(results, parts)
    size = (out / part_name(0)).stat().st_size
    labels = ",".join(f"{color} {shape}" for color, shape in PAIRS[: args.labels])
    for _ in range(args.rounds):
        shutil.rmtree(folder / "labels", ignore_errors=True)
        took, most = timed(
            zsclip("classify", "--vectors", str(out), "-l", labels, "--into", str(folder / "labels"), *model)
        )
        started = time.monotonic()
        for number in range(parts):
            (out / part_name(number)).read_bytes()
        reading = time.monotonic() - started
        made_of = f"{parts * rows:,} vectors ({parts * size / 1e9:.1f} GB in {parts} parts), {args.labels} labels"
        print(f"{made_of}: {took:.1f} s, at most {most:,.0f} MB; reading the bytes alone {reading:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("overhead", "plan", "vectors"))
    parser.add_argument("--model", default="demo")
    parser.add_argument("--pretrained", default="")
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", type=int, default=100_000)
    parser.add_argument("--part-size", type=int, default=1)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--part-rows", type=int, default=100_000)
    parser.add_argument("--labels", type=int, default=10)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as where:
        {"overhead": overhead, "plan": plan, "vectors": vectors}[args.what](args, Path(where))


if __name__ == "__main__":
    main()
