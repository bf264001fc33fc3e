"""A part that ends the processes which read it: done by child processes, each given less than the one that died, down to the picture.

A child is this module in a process of its own, with a model of its own. Its decoders have processes of their own again, as with
`isolate`, so that a decoder's crash costs no model. A child that lives does range after range; one that dies is replaced.

    first question: length (8 bytes), the `Work` (pickled); answered with b"o" once the model is loaded
    question:       length, a `Range` (JSON)
    answers:        b"s" a sign of life; b"m" a member of a container is about to be read (JSON: position and name); b"v" some pictures,
                    in order: length (8 bytes) and JSON of their names and errors, float32 vectors, a byte of quality each; at last b"z",
                    and whether the container broke off (1 byte). Instead: b"e" an exception that ends the child, b"x" what is wrong and
                    no picture's fault
"""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import IO, Any

import numpy as np

from zsclip.classifier import Classifier
from zsclip.cluster.plan import Slice
from zsclip.cluster.slices import Finding
from zsclip.embedding.records import ImageEmbeddings
from zsclip.engines.base import Computing
from zsclip.engines.hardware import available_cores
from zsclip.errors import ImageError, ModelError, ZsclipError
from zsclip.images.container import Container
from zsclip.images.item import Member
from zsclip.images.listing import Listing, Piece
from zsclip.images.reading import Reading
from zsclip.images.siblings import Siblings
from zsclip.images.worker_process import EndedError, Worker, answer, begin, cause
from zsclip.models import ModelSpec
from zsclip.store.keeping import Keeping

_LOAD_SECONDS = 1800.0
# A death costs a loaded model, a smaller range little: in eighths there are a third as many deaths as in halves.
_PIECES = 8
# Rows of a table that end the process before it has one of them at hand: what reads them reads more than one.
_TOGETHER = 64


@dataclass(frozen=True)
class Work:
    """All that a child needs to know of a part but what it is to do next."""

    spec: ModelSpec
    computing: Computing
    reading: Reading
    finding: Finding
    slices: Sequence[Slice]

    def open(self) -> Classifier:
        """The model, loaded. Raises `ZsclipError`."""
        # The environment of a child allows one thread, for it decodes in most cases.
        computing = replace(self.computing, threads=self.computing.threads or available_cores())
        reading = replace(self.reading, isolate=True)
        classifier = Classifier.open(self.spec, computing, reading, Keeping(use_cache=False))
        classifier.model.load()
        return classifier


@dataclass(frozen=True)
class Range:
    """Some pictures of a part that follow each other: `slices`, by their numbers. Of one that holds many: its members at some positions, or
    all `after` a position.
    """

    slices: tuple[int, ...]
    members: tuple[int, ...] | None = None
    after: int | None = None

    def rest(self, done: int) -> Range:
        """What is left of it when so many pictures are done."""
        if self.members is None:
            return Range(self.slices[done:])
        return Range(self.slices, self.members[done:])

    def __len__(self) -> int:
        return len(self.slices if self.members is None else self.members)

    def pieces(self) -> list[Range]:
        """The same in about eight."""
        step = -(-len(self) // _PIECES)
        starts = range(0, len(self), step)
        if self.members is None:
            return [Range(self.slices[start : start + step]) for start in starts]
        return [Range(self.slices, self.members[start : start + step]) for start in starts]


@dataclass
class _Seen:
    """How far a child came with a range: pictures that are done, members that it named."""

    done: int = 0
    named: dict[int, str] = field(default_factory=dict)


class _GoneError(Exception):
    """A child ended in the middle of a range; its text says how."""

    def __init__(self, how: str, *, timed_out: bool = False) -> None:
        super().__init__(how)
        self.timed_out = timed_out


def ranges(work: Work, pieces: Sequence[Piece], places: Collection[int] | None = None) -> Iterator[Range]:
    """The pictures of a part; or those at some places in it, where all places are known."""
    single, place = list[int](), 0
    for number, (one, piece) in enumerate(zip(work.slices, pieces, strict=True)):
        if not isinstance(piece, Container):
            if places is None or place in places:
                single.append(number)
            place += 1
            continue
        if single:
            yield Range(tuple(single))
            single = []
        if one.rows is None:
            yield Range((number,), after=-1)
            continue
        rows = range(*one.rows)
        if wanted := tuple(row for at, row in enumerate(rows, place) if places is None or at in places):
            yield Range((number,), wanted)
        place += len(rows)
    if single:
        yield Range(tuple(single))


def embed_in_children(
    work: Work, places: Collection[int] | None = None, *, seconds: float
) -> Iterator[ImageEmbeddings]:
    """Embeddings of a part's pictures in order, or of those at some places in it; one that ends its process, or has it give no sign for
    so many `seconds`, has an error that says so.

    A picture is found guilty only by a process that did nothing else. Raises `ZsclipError` for what is no picture's fault.
    """
    pieces = list(work.finding.pieces(work.slices))
    waiting = list(ranges(work, pieces, places))[::-1]
    child: _Child | None = None
    try:
        while waiting:
            given, seen = waiting.pop(), _Seen()
            child = child or _Child(work, seconds)
            is_fresh = child.is_fresh
            try:
                is_broken = yield from child.embedded(given, seen)
            except _GoneError as gone:
                child.kill()
                child = None
                guilty, left = _after(given, seen, is_fresh=is_fresh)
                if guilty:
                    yield _errors(_names(guilty, pieces, seen), gone, work.spec.embed_dim)
                waiting += left[::-1]
            else:
                while is_broken and waiting and waiting[-1].slices == given.slices:
                    waiting.pop()
    finally:
        if child:
            child.kill()


def _after(given: Range, seen: _Seen, *, is_fresh: bool) -> tuple[Range | None, list[Range]]:
    """What a death says: who is guilty, if that is known now, and what is left to do."""
    named, is_alone = list(seen.named), is_fresh and not seen.done
    if given.after is not None:
        if not named:  # opening it, or looking for what comes next
            return (given, []) if is_alone else (None, [given])
        if seen.done > len(named):  # it broke off, and that has its row
            return None, []
        left = named[seen.done :]
        parts = Range(given.slices, tuple(left)).pieces() if left else []
        return None, [*parts, Range(given.slices, after=named[-1])]
    rest = given.rest(seen.done)
    if not len(rest):
        return None, []
    is_one = len(rest) == 1 or (rest.members is not None and not named and len(rest) <= _TOGETHER)
    if not is_one:
        return None, rest.pieces()
    return (rest, []) if is_alone else (None, [rest])


def _names(guilty: Range, pieces: Sequence[Piece], seen: _Seen) -> list[str]:
    found = [pieces[number] for number in guilty.slices]
    names = [one.name for one in found if not isinstance(one, Siblings)]
    (container,) = found if len(found) == 1 else (None,)
    if guilty.members is None or not isinstance(container, Container):
        return names
    return [seen.named.get(position) or container.row_name(position, "") for position in guilty.members]


def _errors(names: list[str], gone: _GoneError, dimension: int) -> ImageEmbeddings:
    error: Any = (str(gone), "timeout" if gone.timed_out else "damaged")
    return ImageEmbeddings(
        names, np.empty((0, dimension), np.float32), np.empty(0, np.uint8), dict.fromkeys(range(len(names)), error)
    )


class _Child:
    """A child process, as its parent has it."""

    def __init__(self, work: Work, seconds: float) -> None:
        self._seconds, self._dimension = seconds, work.spec.embed_dim
        self._worker = Worker(__name__, {})
        self.is_fresh = True
        try:
            kind, payload = self._worker.exchange(_LOAD_SECONDS, *_framed(pickle.dumps(work)))
        except EndedError as end:
            self.kill()
            raise ModelError(
                f"a child process ended while it loaded the model ({cause(end.code)}).", where=work.spec.title
            ) from None
        if kind == b"x":
            self.kill()
            raise _as_error(payload)

    def kill(self) -> None:
        """End it, whatever it is doing."""
        self._worker.kill()

    def embedded(self, given: Range, seen: _Seen) -> Generator[ImageEmbeddings, None, bool]:
        """What it makes of a range; returns whether the container broke off. Raises `_GoneError` and `ZsclipError`."""
        self.is_fresh = False
        question: tuple[bytes, ...] = _framed(json.dumps(asdict(given)).encode())
        while True:
            try:
                kind, payload = self._worker.exchange(self._seconds, *question)
            except EndedError as end:
                if end.timed_out:
                    raise _GoneError(f"reading it took longer than {self._seconds:g} s", timed_out=True) from None
                raise _GoneError(f"it ended the process that read it ({cause(end.code)})") from None
            question = ()  # the next answers come by themselves
            if kind == b"s":
                continue
            if kind == b"m":
                position, name = json.loads(payload)
                seen.named[position] = name
            elif kind == b"v":
                some = _unpacked(payload, self._dimension)
                seen.done += len(some)
                yield some
            elif kind == b"e":
                raise _GoneError(f"it ended the process that read it ({payload.decode()})")
            elif kind == b"x":
                raise _as_error(payload)
            else:
                return payload == b"\1"


def _framed(data: bytes) -> tuple[bytes, ...]:
    return struct.pack("<Q", len(data)), data


def _packed(some: ImageEmbeddings) -> bytes:
    head = json.dumps([some.paths, list(some.errors.items())]).encode()
    vectors = some.vectors.astype(np.float32, copy=False)
    return struct.pack("<Q", len(head)) + head + vectors.tobytes() + some.qualities.tobytes()


def _unpacked(data: bytes, dimension: int) -> ImageEmbeddings:
    (length,) = struct.unpack_from("<Q", data)
    paths, errors = json.loads(data[8 : 8 + length])
    read, start = len(paths) - len(errors), 8 + length
    vectors = np.frombuffer(data, np.float32, read * dimension, start).reshape(read, dimension)
    qualities = np.frombuffer(data, np.uint8, read, start + vectors.nbytes)
    return ImageEmbeddings(paths, vectors, qualities, {place: tuple(error) for place, error in errors})


def _as_error(payload: bytes) -> ZsclipError:
    facts = json.loads(payload)
    return ModelError(facts["what"], where=facts["where"], remedy=facts["remedy"])


def serve(lifeline: int) -> None:
    """A child's life: answer until there are no more questions."""
    try:
        questions, answers = begin(lifeline)
        work: Work = pickle.loads(_received(questions))  # noqa: S301  (of its parent)
        try:
            with work.open() as classifier:
                answer(answers, b"o")
                while question := _received(questions):
                    _embed(work, classifier, json.loads(question), answers)
        except ZsclipError as error:
            facts = {"what": error.what, "where": error.where, "remedy": error.remedy}
            answer(answers, b"x", json.dumps(facts).encode())
        except BrokenPipeError:
            raise
        except BaseException as error:
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            answer(answers, b"e", said.encode("utf-8", "backslashreplace"))
    except BrokenPipeError:
        pass  # the parent is gone
    os._exit(0)


def _received(questions: IO[bytes]) -> bytes:
    head = questions.read(8)
    if len(head) < 8:
        return b""
    (length,) = struct.unpack("<Q", head)
    return questions.read(length)


def _embed(work: Work, classifier: Classifier, given: dict[str, Any], answers: IO[bytes]) -> None:
    pieces = list(work.finding.pieces([work.slices[number] for number in given["slices"]]))
    named = None
    if given["members"] is not None or given["after"] is not None:
        (container,) = pieces
        assert isinstance(container, Container)
        named = _Named(container, given["members"], given["after"], answers)
        pieces = [named]
    for some in classifier.embed_images(Listing(pieces)):
        answer(answers, b"v", _packed(some))
    answer(answers, b"z", bytes([named is not None and named.is_broken]))


class _Named(Container):
    """In the child: members of a container at some positions or after one, each told before it is read. No more is looked for."""

    def __init__(
        self, whole: Container, positions: Sequence[int] | None, after: int | None, answers: IO[bytes]
    ) -> None:
        super().__init__(whole.name)
        self._whole, self._positions, self._answers = whole, positions, answers
        self._after = -1 if after is None else after
        self.is_broken = False

    def prepare(self, reading: Reading) -> None:
        """See `Container`."""
        self._whole.prepare(reading)

    def members(self, wanted: Collection[int] | None = None) -> Iterator[Member]:  # noqa: ARG002
        """See `Container`."""
        positions = None if self._positions is None else frozenset(self._positions)
        last = max(self._positions) if self._positions else None
        members: Any = self._whole.members(positions)
        try:
            with closing(members):
                for member in members:
                    if member.position <= self._after:
                        answer(self._answers, b"s")
                        continue
                    answer(self._answers, b"m", json.dumps([member.position, member.name]).encode())
                    yield member
                    if member.position == last:
                        return
        except ImageError:
            self.is_broken = True
            raise
