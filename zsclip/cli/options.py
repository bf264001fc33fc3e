"""Options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from zsclip.engines.names import EngineName, PrecisionName

_INPUT, _DECISION, _MODEL, _OUTPUT, _STORE = "Images and labels", "Decision", "Model", "Output", "Store"
_PARTS = "Many images, in parts"

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATHS...",
        help="Folders (searched for images, sorted), image files, archives (.tar, .tar.gz, .tgz, .zip), tables, videos, addresses "
        "(s3://, gs://, az://, hf://, https://) of any of these, or - for a "
        "list of paths on standard input.",
        show_default=False,
    ),
]
NoRecursive = Annotated[
    bool, typer.Option("--no-recursive", help="Do not go into folders inside folders.", rich_help_panel=_INPUT)
]
Null = Annotated[
    bool,
    typer.Option("-0", "--null", help="Paths are NUL-separated: on standard input, and with -f paths also in the output.",
                 rich_help_panel=_INPUT),
]  # fmt: skip
Hidden = Annotated[
    bool,
    typer.Option("--hidden", rich_help_panel=_INPUT,
                 help="In folders, also take hidden files and folders, system folders and photo libraries."),
]  # fmt: skip
Limit = Annotated[
    Optional[int],
    typer.Option("--limit", min=1, metavar="N", help="Only the first N images.", rich_help_panel=_INPUT),
]
Sample = Annotated[
    Optional[int],
    typer.Option("--sample", min=1, metavar="N", rich_help_panel=_INPUT,
                 help="Only N images drawn at random, in their order; all are listed first."),
]  # fmt: skip
Seed = Annotated[
    int, typer.Option("--seed", metavar="S", help="With --sample: another number draws others.", rich_help_panel=_INPUT)
]
Retry = Annotated[
    Optional[Path],
    typer.Option("--retry", metavar="FILE", rich_help_panel=_INPUT,
                 help="Instead of PATHS: what could not be read in these results (CSV, TSV, JSONL, Parquet) for a reason that may have "
                      "passed; from CSV and TSV, which do not say, all that could not."),
]  # fmt: skip
Column = Annotated[
    Optional[str],
    typer.Option("--column", metavar="NAME", rich_help_panel=_INPUT,
                 help="Of a table (.parquet, .csv, .tsv, .jsonl), the column with the pictures: their bytes, paths or "
                      "addresses. Default: the only one that fits."),
]  # fmt: skip
IdColumn = Annotated[
    Optional[str],
    typer.Option("--id-column", metavar="NAME", rich_help_panel=_INPUT,
                 help="Of a table, the column that names the rows. Default: the table and the number, as in train.parquet#17."),
]  # fmt: skip
LabelColumn = Annotated[
    Optional[str],
    typer.Option("--label-column", metavar="NAME", rich_help_panel=_INPUT,
                 help="Of a table, the column with the labels, or with the numbers of classes that the file itself names."),
]  # fmt: skip
PerHost = Annotated[
    int,
    typer.Option("--per-host", min=1, metavar="N", rich_help_panel=_INPUT,
                 help="Requests at once to one host of the web."),
]  # fmt: skip
AllowPrivate = Annotated[
    bool,
    typer.Option("--allow-private", rich_help_panel=_INPUT,
                 help="Let addresses in data (a list, a table) and redirects lead to this machine and private networks."),
]  # fmt: skip
NoSignRequest = Annotated[
    bool,
    typer.Option("--no-sign-request", rich_help_panel=_INPUT,
                 help="Ask buckets without your keys. Without keys they are asked so anyway."),
]  # fmt: skip
Every = Annotated[
    Optional[float],
    typer.Option("--every", min=0.001, max=31_622_400, metavar="SECONDS", rich_help_panel=_INPUT,
                 help="Take a frame of videos every so often, also of those in folders. Named videos: 1."),
]  # fmt: skip
ExactTimes = Annotated[
    bool,
    typer.Option("--exact-times", rich_help_panel=_INPUT,
                 help="Of videos, the frames shown at these times instead of the nearest key frames, which is slower."),
]  # fmt: skip
Pool = Annotated[
    Optional[Literal["mean", "max"]],
    typer.Option("--pool", rich_help_panel=_INPUT,
                 help="One row a video: by the mean of its frames' vectors, or by its best frame for each label."),
]  # fmt: skip
Labels = Annotated[
    Optional[list[str]],
    typer.Option(
        "-l", "--labels", metavar="A,B", help="Labels, separated by commas; repeats add up.", rich_help_panel=_INPUT
    ),
]
LabelsFile = Annotated[
    Optional[str],
    typer.Option("-L", "--labels-file", metavar="FILE",
                 help="Labels from a file: text (one a line), CSV, YAML or JSON (labels with synonyms, or in levels), or builtin:imagenet.",
                 rich_help_panel=_INPUT),
]  # fmt: skip
Prompts = Annotated[
    Optional[list[str]],
    typer.Option("-p", "--prompts", metavar="NAME|FILE", help="Prompt set; repeat to merge several. Default: openai-simple.",
                 rich_help_panel=_INPUT),
]  # fmt: skip
Template = Annotated[
    Optional[list[str]],
    typer.Option("--template", metavar="TEXT",
                 help="A template such as 'a photo of a <label>.'; repeatable, instead of or beside --prompts.",
                 rich_help_panel=_INPUT),
]  # fmt: skip

Model = Annotated[
    Optional[str],
    typer.Option("-m", "--model", metavar="NAME", envvar="ZSCLIP_MODEL", rich_help_panel=_MODEL,
                 help="An architecture of open_clip, alone or with its weights (ViT-B-32:openai), local-dir:PATH, "
                      "hf-hub:ORG/REPO[@REVISION] or demo. Default: ViT-B-32-256."),
]  # fmt: skip
Pretrained = Annotated[
    Optional[str],
    typer.Option("--pretrained", metavar="TAG|FILE", envvar="ZSCLIP_PRETRAINED", rich_help_panel=_MODEL,
                 help="The architecture's weights: one of its tags, or a checkpoint file. Default: the model's documented tag."),
]  # fmt: skip
Offline = Annotated[
    bool,
    typer.Option("--offline", rich_help_panel=_MODEL,
                 help="Touch no network: use what is on this machine, or say what is missing. As HF_HUB_OFFLINE=1."),
]  # fmt: skip
Device = Annotated[
    str,
    typer.Option("--device", metavar="auto|cpu|cuda|cuda:N|mps", envvar="ZSCLIP_DEVICE", rich_help_panel=_MODEL,
                 help="Where to compute."),
]  # fmt: skip
Engine = Annotated[
    EngineName,
    typer.Option("--engine", rich_help_panel=_MODEL,
                 help="Inference engine: auto is OpenVINO on a CPU if it is installed and takes the model, else PyTorch."),
]  # fmt: skip
Precision = Annotated[
    PrecisionName,
    typer.Option("--precision", rich_help_panel=_MODEL,
                 help="auto is half precision (fp16 on CUDA, bf16 on a CPU that computes in it) if the model was measured to "
                      "tolerate it, else fp32. int8 (images on a CPU) is calibrated on the first 150 new images and tells what it costs."),
]  # fmt: skip
Exact = Annotated[
    bool,
    typer.Option("--exact", rich_help_panel=_MODEL,
                 help="Decode in full and compute in fp32: numerically what open_clip gives."),
]  # fmt: skip
BatchSize = Annotated[
    Optional[int],
    typer.Option("--batch-size", min=1, metavar="N", help="Images per forward pass. Default: by device.",
                 rich_help_panel=_MODEL),
]  # fmt: skip
Workers = Annotated[
    Optional[int],
    typer.Option("--workers", min=1, metavar="N", help="Threads that decode. Default: one a core, up to 16.",
                 rich_help_panel=_MODEL),
]  # fmt: skip
Readers = Annotated[
    int,
    typer.Option("--readers", min=1, metavar="N", rich_help_panel=_MODEL,
                 help="Threads that read what is not on this machine, ahead of those that decode."),
]  # fmt: skip
MaxPixels = Annotated[
    int,
    typer.Option("--max-pixels", min=1, metavar="N", help="Larger images are not decoded; each gets a row that says so.",
                 rich_help_panel=_INPUT),
]  # fmt: skip
Isolate = Annotated[
    bool,
    typer.Option("--isolate", rich_help_panel=_INPUT,
                 help="Decode in worker processes: a decoder that crashes or hangs costs its image only."),
]  # fmt: skip
DecodeTimeout = Annotated[
    float,
    typer.Option("--decode-timeout", min=0.001, max=86_400, metavar="SECONDS",
                 help="With --isolate, the longest an image may take.", rich_help_panel=_INPUT),
]  # fmt: skip
Temperature = Annotated[
    float,
    typer.Option("--temperature", metavar="T", help="Divides the logits: above 1 softens the probabilities.",
                 rich_help_panel=_DECISION),
]  # fmt: skip
Combine = Annotated[
    Literal["mean", "max", "sum"],
    typer.Option("--combine", rich_help_panel=_DECISION,
                 help="What a label of several names is: their mean vector, its best name, or the sum of their probabilities."),
]  # fmt: skip
MultiLabel = Annotated[
    bool,
    typer.Option("--multi-label", rich_help_panel=_DECISION,
                 help="Each label on its own, against the background (SigLIP: its own bias), instead of against the others."),
]  # fmt: skip
Background = Annotated[
    Optional[str],
    typer.Option("--background", metavar="FILE|curated", rich_help_panel=_DECISION,
                 help="Texts for 'something else' that compete with the labels: one a line, YAML list, or the curated ones."),
]  # fmt: skip
MinProbability = Annotated[
    Optional[float],
    typer.Option("--min-probability", min=0, max=1, metavar="P",
                 help="Below it an image is unknown; of labels in levels, it gets the one above that is sure. With --multi-label: 0.5.",
                 rich_help_panel=_DECISION),
]  # fmt: skip
MinMargin = Annotated[
    Optional[float],
    typer.Option("--min-margin", min=0, max=1, metavar="P", help="Unknown if the best label leads by less.",
                 rich_help_panel=_DECISION),
]  # fmt: skip
MinSimilarity = Annotated[
    Optional[float],
    typer.Option("--min-similarity", min=-1, max=1, metavar="S", help="Unknown if the best label's similarity is less.",
                 rich_help_panel=_DECISION),
]  # fmt: skip
CalibrationFile = Annotated[
    Optional[Path],
    typer.Option("--calibration", metavar="FILE", rich_help_panel=_DECISION,
                 help="What evaluate --calibrate wrote, for this model, these labels and these prompts: its temperature, and with "
                      "--multi-label from where on each label holds."),
]  # fmt: skip
UnknownLabel = Annotated[
    str, typer.Option("--unknown-label", metavar="NAME", help="What images without a decision are called.",
                      rich_help_panel=_DECISION),
]  # fmt: skip

TopK = Annotated[
    str, typer.Option("-k", "--top-k", metavar="N|all", help="Labels to tell per image.", rich_help_panel=_OUTPUT)
]
Format = Annotated[
    Optional[Literal["table", "csv", "tsv", "jsonl", "parquet", "paths"]],
    typer.Option("-f", "--format", rich_help_panel=_OUTPUT,
                 help="Default: by the output file's extension; else a table on a terminal and CSV into a pipe."),
]  # fmt: skip
Output = Annotated[
    Optional[Path],
    typer.Option("-o", "--output", metavar="FILE", rich_help_panel=_OUTPUT,
                 help="Write there instead of standard output; the file appears whole or not at all."),
]  # fmt: skip
Only = Annotated[
    Optional[str],
    typer.Option(
        "--only",
        metavar="LABEL",
        help="Only images for which this label holds, or one below it.",
        rich_help_panel=_OUTPUT,
    ),
]
Vectors = Annotated[
    Optional[str],
    typer.Option("--vectors", metavar="OUT", rich_help_panel=_PARTS,
                 help="Instead of looking at images: the vectors that --into OUT wrote."),
]  # fmt: skip
IntoParts = Annotated[
    Optional[str],
    typer.Option("--into", metavar="OUT", rich_help_panel=_PARTS,
                 help="Write rows and vectors in parts (Parquet) into a folder. The same command goes on where it was."),
]  # fmt: skip
PartSize = Annotated[
    int, typer.Option("--part-size", min=1, metavar="N", help="Images in a part.", rich_help_panel=_PARTS)
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Remove the run that is there, and begin anew.", rich_help_panel=_PARTS)
]
RetryErrors = Annotated[
    bool,
    typer.Option("--retry-errors", rich_help_panel=_PARTS,
                 help="Also try again what could not be read for a reason that may have passed."),
]  # fmt: skip
MaxErrors = Annotated[
    Optional[str],
    typer.Option("--max-errors", metavar="N|P%", rich_help_panel=_PARTS,
                 help="End the run when more images than that cannot be read; a share counts from 100 images on."),
]  # fmt: skip
Cluster = Annotated[
    Optional[str],
    typer.Option("--cluster", metavar="local|auto|HOST:PORT", rich_help_panel=_PARTS,
                 help="Do the parts on a Ray cluster: one on this machine, the one that it belongs to, or the one at an address."),
]  # fmt: skip
Actors = Annotated[
    Optional[int],
    typer.Option("--actors", min=1, metavar="N", rich_help_panel=_PARTS,
                 help="Workers on the cluster, in all. Default: one a node, or one for each GPU."),
]  # fmt: skip
CpusPerActor = Annotated[
    Optional[float],
    typer.Option("--cpus-per-actor", min=0.01, metavar="N", rich_help_panel=_PARTS,
                 help="Processors of each worker. Default: a node's, shared among its workers."),
]  # fmt: skip
GpusPerActor = Annotated[
    Optional[float],
    typer.Option("--gpus-per-actor", min=0, metavar="N", help="GPUs of each worker.", rich_help_panel=_PARTS),
]  # fmt: skip
PartTimeout = Annotated[
    Optional[float],
    typer.Option("--part-timeout", min=0.001, metavar="SECONDS", rich_help_panel=_PARTS,
                 help="The longest a part may take on the cluster, before it is tried another way."),
]  # fmt: skip
Report = Annotated[
    Optional[Path],
    typer.Option("--report", metavar="FILE.html", rich_help_panel=_OUTPUT,
                 help="Also write a page to look through: one file, no network. Pictures are found where they lie now."),
]  # fmt: skip
EmbedThumbnails = Annotated[
    bool,
    typer.Option("--embed-thumbnails", help="Put small pictures into the report, to send it to someone.",
                 rich_help_panel=_OUTPUT),
]  # fmt: skip
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", help="No progress and no notes; warnings stay.", rich_help_panel=_OUTPUT)
]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Say what is loaded and computed.", rich_help_panel=_OUTPUT)
]
ShowTimings = Annotated[
    bool, typer.Option("--timings", help="Say at the end where the time went.", rich_help_panel=_OUTPUT)
]

CacheDir = Annotated[
    Optional[Path],
    typer.Option("--cache-dir", metavar="DIR", envvar="ZSCLIP_CACHE_DIR", rich_help_panel=_STORE,
                 help="The folder of the store. Default: the user's cache folder."),
]  # fmt: skip
NoCache = Annotated[bool, typer.Option("--no-cache", help="Neither read nor keep vectors.", rich_help_panel=_STORE)]
Rehash = Annotated[
    bool,
    typer.Option("--rehash", rich_help_panel=_STORE,
                 help="Read files again even if nothing tells that they changed."),
]  # fmt: skip
