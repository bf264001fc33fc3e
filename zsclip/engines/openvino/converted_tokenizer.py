"""open_clip's own tokenizers made into ones that need neither torch nor transformers, checked on the probes."""

from __future__ import annotations

import numpy as np

from zsclip.engines import probes
from zsclip.engines.base import ExportError
from zsclip.engines.openvino.tokenizer import Settings, Tokenizer
from zsclip.engines.torch.tokenizers import Tokenizer as Reference
from zsclip.models import ModelSpec


def convert(spec: ModelSpec, tokenizer: Reference) -> Tokenizer:
    """The model's tokenizer without its libraries; raises `ExportError` if it does not give the same tokens."""
    wanted, reference = spec.tokenizer, tokenizer.reference
    # Asking one of transformers also sets how it cuts and fills up.
    expected = tokenizer(list(probes.TEXTS)).numpy()
    if wanted.special_tokens:
        raise ExportError("its tokenizer has special tokens of its own")
    if wanted.kind == "clip":
        settings = Settings(
            wanted.context_length, wanted.clean, by_words=True, start=reference.sot_token_id, end=reference.eot_token_id
        )
        converted = Tokenizer.clip(reference.encoder, list(reference.bpe_ranks), settings)
    else:
        pieces = getattr(reference.tokenizer, "backend_tokenizer", None)
        if pieces is None or wanted.mode:
            raise ExportError(f"its tokenizer ({wanted.title}) is none that runs without PyTorch")
        blanked = reference.tokenizer.sep_token_id if wanted.strip_sep_token else None
        pad = reference.tokenizer.pad_token_id
        converted = Tokenizer(pieces, Settings(wanted.context_length, wanted.clean, pad=pad, blanked=blanked))
    if not np.array_equal(expected, converted(probes.TEXTS)):
        raise ExportError(f"its tokenizer ({wanted.title}) gives other tokens without PyTorch")
    return converted
