"""Which model the store knows: the key under which its vectors are kept, told from the weights as they are now."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from zsclip import models
from zsclip.errors import ModelError
from zsclip.images.item import Stamp
from zsclip.models import ModelSpec, weights
from zsclip.store.database import Store


class Identities:
    """The identities of a model. `exports` is the folder of what engines make of models; `rehash` reads weights again."""

    def __init__(self, spec: ModelSpec, store: Store, exports: Path | None = None, *, rehash: bool = False) -> None:
        self._spec = spec
        self._store = store
        self._exports = exports
        self._rehash = rehash
        address = models.address(spec)
        # The store remembers what was last at an address, whatever is there now.
        self._address = Stamp(address.encode(), 0, 0) if address else None

    def of(self, path: Path) -> str:
        """The identity with the weights in that file. What zsclip 0.1 kept of them is taken over. Raises `ModelError`."""
        try:
            known = self._fingerprint(path)
        except OSError as error:
            raise ModelError(
                f"{error.filename or path} cannot be read: {error.strerror}.", where=self._spec.title
            ) from None
        if self._address and self._store.weights(self._address) != known:
            self._store.put_weights(self._address, known)
        identity = self._spec.identity(known.key)
        for key in (self._spec.tag_key, known.whole and weights.Fingerprint(whole=known.whole).key):
            former = self._spec.identity(key) if key else identity
            if former != identity and self._store.adopt(identity, former):
                self._rename_exports(former, identity)
        return identity

    def last(self) -> str | None:
        """The identity with weights that are not on this machine any more: what they were when they were; None if never."""
        if self._address and (known := self._store.weights(self._address)):
            return self._spec.identity(known.key)
        if self._spec.tag_key and self._store.facts(former := self._spec.identity(self._spec.tag_key)):
            return former
        return None

    def former(self, path: Path | None) -> list[str]:
        """What zsclip 0.1 called the model with the weights in that file."""
        keys = [self._spec.tag_key]
        if path and not self._spec.tag_key:
            keys = [weights.Fingerprint(whole=weights.whole(path)).key]
        return [self._spec.identity(key) for key in keys if key]

    def _fingerprint(self, path: Path) -> weights.Fingerprint:
        stamp = weights.stamp(path)
        known = None if self._rehash else self._store.weights(stamp)
        if known and (known.sample or path.suffix != weights.SAMPLED):
            return known
        found = weights.fingerprint(path)
        if known:  # by 0.1, which read all of it
            found = replace(found, whole=known.whole)
        self._store.put_weights(stamp, found)
        return found

    def _rename_exports(self, former: str, identity: str) -> None:
        """Folders of exports are called by a model's identity. Renamed, they need not be made again."""
        old, new = models.short_identity(former), models.short_identity(identity)
        for folder in self._exports.glob(f"*-{old}-v*") if self._exports else ():
            with contextlib.suppress(OSError):  # it is made again
                folder.rename(folder.with_name(folder.name.replace(f"-{old}-v", f"-{new}-v")))
