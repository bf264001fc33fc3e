"""What an address leads to: a picture, the pictures below it, or an object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from zsclip.errors import ImageError, InputError
from zsclip.images.folders import PassedOver, Search
from zsclip.images.formats import PICTURES, image_extensions
from zsclip.images.item import Item, Unreadable
from zsclip.images.place import Place
from zsclip.images.remote import buckets, hub
from zsclip.images.remote.addresses import extension, on_the_web, scheme, shown, split
from zsclip.images.remote.pages import WebPicture, WebPlace
from zsclip.images.remote.settings import Network


class _Kind(NamedTuple):
    """How a scheme is read: a picture at an address, an object there, and what is below it, as path and item."""

    picture: Callable[[str, str, Network], Item]
    place: Callable[[str, Network], Place]
    below: Callable[[str, Network], Iterable[tuple[str, Callable[[], Item]]]]


def _in_bucket(address: str, network: Network) -> Iterator[tuple[str, Callable[[], Item]]]:
    opened = buckets.bucket(address, network)
    for one in opened.listed(split(address)[1]):
        yield one.key, partial(buckets.BucketPicture, opened, one.key, listed=one)


def _in_repository(address: str, network: Network) -> Iterator[tuple[str, Callable[[], Item]]]:
    repository, headers = hub.Repository.of(address), hub.who_asks()
    for one in hub.listed(address):
        yield one.path, partial(hub.HubPicture, repository._replace(path=one.path), network, headers, listed=one)


def _hub_picture(address: str, name: str, network: Network) -> Item:
    return hub.HubPicture(hub.Repository.of(address), network, hub.who_asks(), name)


_BUCKET = _Kind(
    lambda address, name, network: buckets.BucketPicture.at(address, network, name), buckets.BucketPlace, _in_bucket
)
_KINDS = {"s3": _BUCKET, "gs": _BUCKET, "az": _BUCKET, "hf": _Kind(_hub_picture, hub.HubPlace, _in_repository)}


def pictures(address: str, network: Network, search: Search, passed_over: PassedOver, *, typed: bool) -> Iterator[Item]:
    """The picture at an address, or those below it, as they are listed.

    `typed`: it comes from the user and not out of data. Raises `InputError` where a listing fails.
    """
    if on_the_web(address) or extension(address) in PICTURES:
        yield picture(address, "", network, typed=typed)
        return
    network.require_online(shown(address))
    found, start, extensions = False, len(_below(address)), image_extensions()
    try:
        for path, make in _KINDS[scheme(address)].below(address, network):
            found = True
            if _wanted(path[start:], search, extensions, passed_over):
                yield make()
    except ImageError as error:
        raise InputError(f"{error}.", where=shown(address)) from None
    if not found and not address.endswith("/") and _below(address):
        yield picture(address, "", network, typed=typed)


def _below(address: str) -> str:
    """The path of an address within its bucket or repository, as a folder."""
    path = hub.Repository.of(address).path if scheme(address) == "hf" else split(address)[1]
    return f"{path.rstrip('/')}/" if path.strip("/") else ""


def _wanted(path: str, search: Search, extensions: frozenset[str], passed_over: PassedOver) -> bool:
    """Whether an object is one of the pictures that would be taken in a folder; else it is counted."""
    *folders, name = path.split("/")
    if folders and not search.recursive:
        return False
    for folder in folders:
        if (place := search.place(folder)) is not None:
            passed_over.places[place] += 1
            return False
    return bool(name) and search.takes(name, extensions, passed_over)  # without a name it stands for the folder itself


def picture(address: str, name: str, network: Network, *, typed: bool) -> Item:
    """The picture at an address; its row says `name`, or the address without what is secret in it."""
    try:
        network.require_online(shown(address))
        if on_the_web(address):
            return WebPicture(address, name, network, typed=typed)
        return _KINDS[scheme(address)].picture(address, name, network)
    except InputError as error:
        if typed:
            raise
        return Unreadable(name or shown(address), ImageError(str(error).rstrip("."), kind="other"))


def remote_place(address: str, network: Network, *, typed: bool) -> Place:
    """The object at an address. `typed`: it comes from the user and not out of data."""
    network.require_online(shown(address))
    return (
        WebPlace(address, network, typed=typed)
        if on_the_web(address)
        else _KINDS[scheme(address)].place(address, network)
    )
