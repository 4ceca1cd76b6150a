"""Small data sets in their upstream formats: what is written here as text, made into the files of a release.

`NAME.parquet.jsonl` becomes the parquet file NAME.parquet, `NAME.gz.txt` the compressed NAME.gz; all others are copied.
"""

import gzip
import json
import shutil
from pathlib import Path

from places import FIXTURES, GOLDEN

RELEASES = FIXTURES / "releases"
GOLDEN_TASKS = GOLDEN / "tasks"


def make(folder: Path) -> Path:
    """Makes all fixtures under a folder, which serves as --data."""
    for path in sorted(RELEASES.rglob("*")):
        if not path.is_file():
            continue
        to = folder / path.relative_to(RELEASES)
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.name.endswith(".parquet.jsonl"):
            import pyarrow
            from pyarrow import parquet

            records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            parquet.write_table(pyarrow.Table.from_pylist(records), to.with_suffix(""), write_page_checksum=True)
        elif path.name.endswith(".gz.txt"):
            to.with_suffix("").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        else:
            shutil.copyfile(path, to)
    return folder
