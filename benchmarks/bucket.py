"""A bucket beside the same pictures in a folder, and the first row over a listing of a million.

    python benchmarks/bucket.py --model ViT-B-32 --pretrained FILE --images 300

The bucket is a light server of S3 on this machine, in a process of its own, that waits 30 ms before each answer. It takes time from
the cores that zsclip computes on, so its processor time, over the cores, is subtracted. Pairs are interleaved; ratios are of rates,
bucket over folder.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from PIL import Image

LATENCY = 0.03
MILLION = 1_000_000
_PAGE = 1000


def picture(number: int) -> bytes:
    """A JPEG of 500x375, which compresses about as a photograph does."""
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(0, 256, (94, 125, 3), np.uint8))
    stream = io.BytesIO()
    small.resize((500, 375), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=88)
    return stream.getvalue()


def serve(folder: str, ready: Connection) -> None:
    """Answer GET of objects in `pictures`, whose keys are the folder's files, and listings of it and of `million`."""
    files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    tags = {name: hashlib.md5(data).hexdigest() for name, data in files.items()}
    first = next(iter(files))

    def listing(bucket: str, after: int) -> bytes:
        total = MILLION if bucket == "million" else len(files)
        names = list(files) if bucket != "million" else []
        parts = []
        for number in range(after, min(total, after + _PAGE)):
            name = names[number] if names else f"{number:07}.jpg"
            size, tag = len(files[names[number] if names else first]), tags[names[number] if names else first]
            parts.append(
                f"<Contents><Key>{name}</Key><LastModified>2026-11-01T00:00:00.000Z</LastModified>"
                f"<ETag>&quot;{tag}&quot;</ETag><Size>{size}</Size></Contents>"
            )
        more = after + _PAGE < total
        token = f"<NextContinuationToken>{after + _PAGE}</NextContinuationToken>" if more else ""
        return (
            f"<ListBucketResult><Name>{bucket}</Name><KeyCount>{len(parts)}</KeyCount><IsTruncated>{str(more).lower()}"
            f"</IsTruncated>{token}{''.join(parts)}</ListBucketResult>"
        ).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(LATENCY)
                parts = urlsplit(head.split(b" ", 2)[1].decode())
                bucket, _, key = unquote(parts.path).strip("/").partition("/")
                if key:
                    name = key if key in files else first
                    body, tag = files[name], tags[name]
                else:
                    body, tag = listing(bucket, int(parse_qs(parts.query).get("continuation-token", ["0"])[0])), "l"
                writer.write(
                    f'HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nETag: "{tag}"\r\n'
                    "Last-Modified: Sun, 01 Nov 2026 00:00:00 GMT\r\n\r\n".encode()
                )
                writer.write(body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 20)
        ready.send(server.sockets[0].getsockname()[1])
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, ready.recv):
            ready.send(time.process_time())

    asyncio.run(run())


def measure(arguments: argparse.Namespace, folder: Path, server: Connection) -> None:
    """Interleaved runs of both, after one of each that loads the model and everything else."""
    from zsclip import Classifier
    from zsclip.images.sources import Finder

    def once(source: str) -> tuple[float, float, float]:
        server.send(True)
        served = server.recv()
        began, computed = time.perf_counter(), time.process_time()
        images = iter(Finder([source]))
        done = sum(len(batch.vectors) for batch in classifier.embed_images(images))
        seconds = time.perf_counter() - began
        assert done == arguments.images
        server.send(True)
        return seconds, server.recv() - served, time.process_time() - computed

    ratios, raw = [], []
    with Classifier.load(arguments.model, arguments.pretrained, use_cache=False) as classifier:
        for source in (str(folder), "s3://pictures/"):
            once(source)
        for _ in range(arguments.pairs):
            local, _, local_computed = once(str(folder))
            remote, served, computed = once("s3://pictures/")
            own = remote - served / len(os.sched_getaffinity(0))
            ratios.append(local / own)
            raw.append(local / remote)
            print(
                f"folder {arguments.images / local:.1f}/s, bucket {arguments.images / remote:.1f}/s "
                f"(server {served:.2f} s of processor): {local / own:.3f}; "
                f"processor {local_computed:.1f} s and {computed:.1f} s", flush=True,
            )  # fmt: skip
    print(
        f"bucket over folder: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}); with the server's time "
        f"counted {statistics.median(raw):.3f}"
    )


def first_row(cache: str) -> None:
    """From starting a process to its first row, over a million objects, with the demo model; three times."""
    command = [sys.executable, "-m", "zsclip", "classify", "s3://million/", "-m", "demo", "-l", "red star,blue ring",
               "-f", "jsonl", "--cache-dir", cache]  # fmt: skip
    for _ in range(3):
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            process.stdout.readline()
            print(f"first row over {MILLION:,} objects after {time.perf_counter() - began:.2f} s")
            process.kill()


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--pretrained")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "pictures"
        folder.mkdir()
        for number in range(arguments.images):
            (folder / f"{number:05}.jpg").write_bytes(picture(number))
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(str(folder), theirs), daemon=True)
        process.start()
        os.environ.update(
            AWS_ACCESS_KEY_ID="static", AWS_SECRET_ACCESS_KEY="static", AWS_REGION="us-east-1",
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{ours.recv()}", AWS_EC2_METADATA_DISABLED="true",
        )  # fmt: skip
        first_row(str(Path(temporary) / "cache"))
        measure(arguments, folder, ours)
        process.kill()


if __name__ == "__main__":
    main()
