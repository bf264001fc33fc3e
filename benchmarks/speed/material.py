"""What the benchmark works on: photo-like JPEGs and a ViT-B/32 with random weights, in the forms that its peers read."""

from __future__ import annotations

import json
import math
from pathlib import Path

from PIL import ImageFilter

from zsclip.engines.probes import photo_like

ARCHITECTURE = "ViT-B-32"
LABELS = (
    "cat",
    "dog",
    "bicycle",
    "mountain lake",
    "birthday cake",
    "street at night",
    "portrait",
    "bee",
    "boat",
    "chess",
)
SMALL, LARGE = (500, 375), (4000, 3000)
# Blurred a little, as lenses do, and saved so that a file has the size that photographs of its kind have.
_QUALITY = {SMALL: 85, LARGE: 90}


def make(folder: Path, small: int, large: int) -> None:
    """Fill the folder, unless it is filled: `small/`, `large/`, `vit.pt`, `hf/`, `visual.onnx`."""
    for name, size, count in (("small", SMALL, small), ("large", LARGE, large)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = folder / name / f"{number:05}.jpg"
            if not path.exists():
                image = photo_like(size, number).filter(ImageFilter.GaussianBlur(0.8))
                image.save(path.with_suffix(".part"), "JPEG", quality=_QUALITY[size])
                path.with_suffix(".part").rename(path)
    if not (folder / "visual.onnx").exists():
        _weights(folder)


def _weights(folder: Path) -> None:
    import open_clip
    import torch

    torch.manual_seed(0)
    model = open_clip.create_model(ARCHITECTURE).eval()
    with torch.no_grad():
        model.logit_scale.fill_(math.log(100))
    torch.save(model.state_dict(), folder / "vit.pt")
    _save_for_transformers(folder / "hf")

    class Visual(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.model.encode_image(pixels)  # type: ignore[no-any-return]

    torch.onnx.export(
        Visual(), (torch.zeros(2, 3, 224, 224),), folder / "visual.onnx.part", input_names=["input"],
        dynamic_axes={"input": {0: "batch"}}, dynamo=False,
    )  # fmt: skip
    (folder / "visual.onnx.part").rename(folder / "visual.onnx")


def _save_for_transformers(folder: Path) -> None:
    """The same architecture as transformers has it, with random weights and CLIP's own tokenizer."""
    import open_clip
    import transformers
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    folder.mkdir(exist_ok=True)
    transformers.CLIPModel(transformers.CLIPConfig()).save_pretrained(folder)
    reference = open_clip.SimpleTokenizer()
    tokenizer = Tokenizer(
        models.BPE(
            dict(reference.encoder), list(reference.bpe_ranks), end_of_word_suffix="</w>", unk_token="<end_of_text>"
        )
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    ends = [("<start_of_text>", reference.sot_token_id), ("<end_of_text>", reference.eot_token_id)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{ends[0][0]} $A {ends[1][0]}", special_tokens=ends
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=ends[0][0], eos_token=ends[1][0], pad_token=ends[1][0], unk_token=ends[1][0],
        model_max_length=77, model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    processor = transformers.CLIPImageProcessor()
    processor.save_pretrained(folder)
    document = json.loads((folder / "config.json").read_text())
    document["eos_token_id"] = reference.eot_token_id
    (folder / "config.json").write_text(json.dumps(document))
