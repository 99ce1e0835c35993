"""Measure false alarms and recall of the search for copies, and the time of one search.

    python -m benchmarks.near_copy_errors [--images N] [--rows N] [FOLDER ...]

The images are the digits and those of each folder. Two images of one folder count as different. Pairs that are called
copies are printed, because a folder may contain copies. A search goes through --rows generated images, 15 hashes each.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from itertools import combinations
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from PIL import Image, ImageEnhance, ImageOps
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from ml.catalog.database import migrate, open_catalog
from ml.catalog.embedded import embedded_url
from ml.catalog.images.copy_index import propose_copies
from ml.data.copies import copy_hashes
from ml.data.copies.compared import sought_in_index
from ml.data.copies.copy_comparison import copy_evidence
from ml.data.copies.image_statistics import measure
from ml.data.copies.near_copies import MOST_PROPOSALS
from ml.data.copies.thumbnails import Grey, as_grey
from ml.ingest.digits import write_digits
from ml.settings import load_settings

_PAIRS_PER_KIND = 60
_SEARCHES = 100
_FILL = """
INSERT INTO training.images (sha256, media_type, width, height, byte_count)
SELECT encode(sha256(n::text::bytea), 'hex'), 'image/jpeg', 320, 240, 20000 FROM generate_series(1, :images) AS n;
INSERT INTO training.items (id, image_sha256, group_key, source, split, class_names, label_origin, entered_pool_at)
SELECT sha256, sha256, sha256, 'bench', 'pool', '{a}', 'curated', now() FROM training.images;
INSERT INTO training.image_statistics (image_sha256, thumbnail, brightness, contrast, sharpness, aspect)
SELECT sha256, decode(repeat('00', 1024), 'hex'), 0, 0, 0, 1 FROM training.images;
INSERT INTO training.copy_hashes (statistics_id, bits, kind, low_word, high_word)
SELECT id, bits, kind, (bits >> 47)::integer, (bits >> 31 & 65535)::integer
FROM (SELECT id, kind, (random() * 4294967295)::bigint << 31 | (random() * 2147483647)::bigint AS bits
      FROM training.image_statistics, unnest(ARRAY[0,1,1,1,1,1,1,1,1,1,1,2,2,2,2]) AS kind) AS drawn;
"""

Change = Callable[[Image.Image, random.Random], Image.Image]


def encoded(image: Image.Image, quality: int = 95) -> bytes:
    """Encode an image as a JPEG file."""
    buffer = BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _cut(image: Image.Image, draw: random.Random) -> Image.Image:
    """Cut off up to a tenth of the width and of the height, at random sides."""
    width, height = image.width * (1 - draw.random() / 10), image.height * (1 - draw.random() / 10)
    left, top = draw.random() * (image.width - width), draw.random() * (image.height - height)
    return image.crop((int(left), int(top), int(left + width), int(top + height)))


def _cut_to_eight_tenths(image: Image.Image, _: random.Random) -> Image.Image:
    width, height = image.size
    return image.crop((width // 10, height // 10, width - width // 10, height - height // 10))


def _caption(image: Image.Image, draw: random.Random) -> Image.Image:
    """Cover the lowest eighth with a bar."""
    captioned = image.copy()
    captioned.paste(draw.choice([(0, 0, 0), (255, 255, 255)]), (0, image.height * 7 // 8, *image.size))
    return captioned


def _resize(image: Image.Image, draw: random.Random) -> Image.Image:
    scale = draw.uniform(0.4, 2)
    return image.resize((max(32, int(image.width * scale)), max(32, int(image.height * scale))))


CHANGES: dict[str, Change] = {
    "encoded anew": lambda image, draw: Image.open(BytesIO(encoded(image, draw.randint(30, 90)))),
    "resized": _resize,
    "turned": lambda image, draw: image.rotate(draw.choice([90, 180, 270]), expand=True),
    "mirrored": lambda image, draw: (ImageOps.mirror if draw.random() < 0.5 else ImageOps.flip)(image),
    "cut": _cut,
    "cut, turned, resized": lambda image, draw: _resize(_cut(image, draw).rotate(90, expand=True), draw),
    "cut to eight tenths": _cut_to_eight_tenths,
    "framed": lambda image, _: ImageOps.expand(image, max(1, image.width // 25), "white"),
    "captioned": _caption,
    "grey": lambda image, _: ImageOps.grayscale(image).convert("RGB"),
    "brighter or darker": lambda image, draw: ImageEnhance.Brightness(image).enhance(draw.uniform(0.7, 1.3)),
    "tilted": lambda image, draw: image.rotate(draw.uniform(-3, 3), Image.Resampling.BICUBIC),
}


def grey_of(image: Image.Image) -> Grey:
    """Return the thumbnail that the catalog would store."""
    return as_grey(measure(encoded(image)).thumbnail)


def is_proposed(first: Grey, second: Grey) -> bool:
    """Whether the hashes of one image propose the other, by the rule of the search in the catalog."""
    stored = copy_hashes.stored_hashes(second)
    return any(
        found.kind in copy_hashes.SOUGHT_AMONG[sought.kind]
        and any((one ^ other).bit_count() <= 1 for one, other in zip(sought.words, found.words, strict=True))
        and (sought.bits ^ found.bits).bit_count() <= copy_hashes.MOST_BITS
        for sought in copy_hashes.sought_hashes(first)
        for found in stored
    )


def called_copies(greys: list[Grey]) -> list[tuple[int, int]]:
    """Return the pairs that are called copies."""
    found = np.array([[each.bits for each in copy_hashes.stored_hashes(grey)] for grey in greys], dtype=np.uint64)
    kinds = np.array([each.kind for each in copy_hashes.stored_hashes(greys[0])])
    called = []
    for index, grey in enumerate(greys[:-1]):
        near = np.zeros(len(greys) - index - 1, dtype=bool)
        for sought in copy_hashes.sought_hashes(grey):
            among = np.isin(kinds, copy_hashes.SOUGHT_AMONG[sought.kind])
            differ = found[index + 1 :, among] ^ np.uint64(sought.bits)
            low, high = differ >> np.uint64(47), differ >> np.uint64(31) & np.uint64(0xFFFF)
            shares_word = (np.bitwise_count(low) <= 1) | (np.bitwise_count(high) <= 1)
            near |= (shares_word & (np.bitwise_count(differ) <= copy_hashes.MOST_BITS)).any(axis=1)
        others = np.flatnonzero(near) + index + 1
        evidence = copy_evidence(grey, [greys[i] for i in others], mirrored=True)
        called += [(index, int(i)) for i in others[evidence >= 1]]
    return called


def search_milliseconds(rows: int) -> list[float]:
    """Return the sorted times of several searches in a separate database."""
    draw = random.Random(0)  # noqa: S311 - no secret
    with tempfile.TemporaryDirectory() as home:
        url = SecretStr(embedded_url(Path(home), "bench_copies"))
        settings = load_settings(mycoflow_home=Path(home), database_url=url)
        migrate(settings)
        with open_catalog(settings) as catalog:
            with catalog.begin() as connection:
                connection.execute(sa.text(_FILL), {"images": rows})
            with catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text("VACUUM ANALYZE training.copy_hashes"))
            taken = []
            for _ in range(_SEARCHES):
                noise = Image.effect_noise((32, 32), 60).resize((8, 8)).resize((160, 120)).rotate(draw.uniform(0, 360))
                sought = sought_in_index(grey_of(noise).astype(np.uint8).tobytes())
                begun = time.perf_counter()
                with catalog.begin() as connection:
                    propose_copies(connection, sought, copy_hashes.MOST_BITS, MOST_PROPOSALS)
                taken.append((time.perf_counter() - begun) * 1000)
    return sorted(taken)


def main() -> None:
    """Print the tables of docs/decisions/0073."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*")
    parser.add_argument("--images", type=int, default=600, help="images of each folder, drawn at random")
    parser.add_argument("--rows", type=int, default=1_000_000, help="images to search through; 0 leaves the search out")
    asked = parser.parse_args()
    console = Console(width=140)
    with tempfile.TemporaryDirectory() as folder:
        write_digits(Path(folder))
        for each in (Path(folder), *asked.folders):
            measure_folder(each, asked.images, console)
    if asked.rows:
        taken = search_milliseconds(asked.rows)
        p50, p95 = taken[len(taken) // 2], taken[len(taken) * 95 // 100]
        console.print(f"A search through {asked.rows:,} images: median {p50:.1f} ms, 95 % within {p95:.1f} ms")


def measure_folder(folder: Path, count: int, console: Console) -> None:
    """Print recall and false alarms of one folder."""
    draw = random.Random(0)  # noqa: S311 - no secret
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    paths = draw.sample(paths, min(count, len(paths)))
    pictures = [Image.open(path).convert("RGB") for path in paths]
    greys = [grey_of(picture) for picture in pictures]
    called, pairs = called_copies(greys), len(list(combinations(greys, 2)))
    console.print(f"{folder}: of {pairs:,} pairs, {len(called)} are called copies: {len(called) / pairs:.6f}")
    for first, second in called[:20]:
        console.print(f"  {paths[first].relative_to(folder)} {paths[second].relative_to(folder)}", highlight=False)
    table = Table("change", "proposed", "called copies")
    for name, change in CHANGES.items():
        copies = [grey_of(change(picture, draw)) for picture in pictures[:_PAIRS_PER_KIND]]
        proposed = [is_proposed(copy, grey) for copy, grey in zip(copies, greys, strict=False)]
        each_pair = zip(copies, greys, strict=False)
        sure = [copy_evidence(copy, [grey], mirrored=True)[0] >= 1 for copy, grey in each_pair]
        both = np.array(proposed) & np.array(sure)
        table.add_row(name, f"{np.mean(proposed):.2f}", f"{np.mean(both):.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
