"""Parquet as other people's tools write it, for the tests of `glimpse capfilt`.

    pip install pyarrow==26.0.1 pillow && python tests/golden/parquet.py

Writes the same 20 pairs once for each way of packing pages, as Hugging Face's datasets lay them out: pictures
in the file, `image` {`bytes`, `path`}.
"""

import io
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
from PIL import Image

HERE = Path(__file__).resolve().parent / "parquet"
ROWS = 20


def picture(number):
    file = io.BytesIO()
    Image.new("RGB", (12, 8), (number * 37 % 256, number * 101 % 256, number * 7 % 256)).save(file, "PNG")
    return file.getvalue()


def main():
    HERE.mkdir(exist_ok=True)
    table = pyarrow.table({
        "image": [dict(bytes=picture(i), path=f"{i}.png") for i in range(ROWS)],
        "caption": [None if i == 7 else f"a plain picture, number {i % 5}" for i in range(ROWS)],
        "uid": [f"u{i:02}" for i in range(ROWS)],
        "width": list(range(ROWS)),
        "tags": [["plain"] * (i % 3) for i in range(ROWS)],
    })
    for name, packing, more in [
        ("none", "none", {}),
        ("snappy", "snappy", {}),
        ("gzip", "gzip", {}),
        ("zstd", "zstd", {}),
        ("zstd-v2", "zstd", dict(data_page_version="2.0", row_group_size=7)),
        ("gzip-v2", "gzip", dict(data_page_version="2.0", use_dictionary=False)),
        ("brotli", "brotli", {}),
    ]:
        parquet.write_table(table, HERE / f"{name}.parquet", compression=packing, **more)


if __name__ == "__main__":
    main()
