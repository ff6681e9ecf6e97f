"""Golden pictures: small files of every kind that is read, and what the
reference makes of them.

The reference is Pillow's `ImageOps.exif_transpose`, transformers'
`convert_to_rgb`, Pillow's `resize` and `BlipImageProcessorPil`. A few things are
not taken from it: 16-bit greys, which Pillow clips and Glimpse scales; and what
Glimpse reads with the `image` crate where that differs, by one level at most,
or in what a run-length encoded BMP skips (`OWN_RULES`).
"""

import io
import json
import random
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file
from transformers.image_transforms import convert_to_rgb
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

ORIENTATION = 0x0112

# Settings in the shapes that checkpoints have them.
SETTINGS = [
    {"size": {"height": 32, "width": 32}},
    {"size": 24, "resample": 2, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2]},
    {"size": {"shortest_edge": 20}, "resample": 1, "default_to_square": False},
    {"size": {"height": 17, "width": 33}, "resample": 4, "do_normalize": False},
    {"size": {"height": 28, "width": 14}, "resample": 5, "rescale_factor": 0.0078},
    {"do_resize": False, "do_rescale": False, "image_mean": 120.0, "image_std": 60.0},
    {"size": [21, 19], "resample": 0},
]


class Maker:
    """Draws pictures and encodes them in ways that Pillow's writers do not offer."""

    def __init__(self, seed):
        self.numbers = np.random.default_rng(seed)
        self.random = random.Random(seed)
        self.skipped = {}  # of a run-length encoded BMP: the pixels that it skips

    def size(self):
        return self.random.randint(12, 30), self.random.randint(12, 30)

    def scene(self, width, height, channels):
        """Waves, edges and noise: something for every part of a codec."""
        y, x = np.mgrid[0:height, 0:width]
        scene = np.zeros((height, width, channels))
        for channel in range(channels):
            a, b, c, d = self.numbers.normal(size=4)
            scene[..., channel] = 128 + 90 * np.sin(a * x / 5 + b * y / 6 + c) + 40 * np.sin(d * x * y / 90)
        left, top = self.numbers.integers(0, width // 2), self.numbers.integers(0, height // 2)
        scene[top : top + height // 3, left : left + width // 3] = self.numbers.integers(0, 256, size=channels)
        return np.clip(scene + self.numbers.normal(scale=6, size=scene.shape), 0, 255).astype(np.uint8)

    def image(self, mode, size=None):
        width, height = size or self.size()
        channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
        scene = self.scene(width, height, channels)
        return Image.fromarray(scene[..., 0] if channels == 1 else scene, mode)

    def palette(self, colours, entry=3):
        return self.numbers.integers(0, 256, size=(colours, entry)).astype(np.uint8)

    def samples(self, width, height, channels, bits):
        if bits == 8:
            return self.scene(width, height, channels).astype(int)
        if bits == 16:
            high = self.scene(width, height, channels).astype(int) * 256
            return high + self.numbers.integers(0, 256, size=high.shape)
        return self.numbers.integers(0, 2**bits, size=(height, width, channels))


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def exif(orientation, big_endian=False, as_long=False):
    """EXIF data with two tags, the second the orientation."""
    order = ">" if big_endian else "<"
    head = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(order + "I", 8)
    make = struct.pack(order + "HHI4s", 0x010F, 2, 2, b"A\0\0\0")
    value = struct.pack(order + "I", orientation) if as_long else struct.pack(order + "HH", orientation, 0)
    tag = struct.pack(order + "HHI", ORIENTATION, 4 if as_long else 3, 1) + value
    return b"Exif\0\0" + head + struct.pack(order + "H", 2) + make + tag + bytes(4)


# PNG ------------------------------------------------------------------------


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(samples, bits):
    """A row of samples as bytes."""
    if bits == 16:
        return samples.astype(">u2").tobytes()
    digits = "".join(format(int(sample), f"0{bits}b") for sample in samples.reshape(-1))
    digits += "0" * (-len(digits) % 8)
    return bytes(int(digits[at : at + 8], 2) for at in range(0, len(digits), 8))


def png(samples, bits, colour_type, interlaced=False, palette=None, transparency=None, before=b"", after=b""):
    height, width = samples.shape[:2]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b""
    for left, top, across, down in passes:
        part = samples[top::down, left::across]
        if part.size:
            rows += b"".join(b"\0" + packed(row, bits) for row in part)
    data = zlib.compress(rows)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, int(interlaced))
    result = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before
    if palette is not None:
        result += chunk(b"PLTE", palette.tobytes())
    if transparency is not None:
        result += chunk(b"tRNS", transparency)
    half = len(data) // 2
    return result + chunk(b"IDAT", data[:half]) + chunk(b"IDAT", data[half:]) + after + chunk(b"IEND", b"")


def png_files(make):
    kinds = {0: ("grey", 1, (1, 2, 4, 8, 16)), 2: ("rgb", 3, (8, 16)), 3: ("palette", 1, (1, 2, 4, 8))}
    kinds |= {4: ("grey-alpha", 2, (8, 16)), 6: ("rgba", 4, (8, 16))}
    for colour_type, (name, channels, depths) in kinds.items():
        for bits in depths:
            for interlaced in (False, True):
                samples = make.samples(*make.size(), channels, bits)
                palette = make.palette(2**bits if bits < 8 else 200) if colour_type == 3 else None
                if bits == 8 and colour_type == 3:
                    samples = samples * 3 // 4  # some beyond the end of the palette
                suffix = "-interlaced" if interlaced else ""
                yield f"{name}-{bits}{suffix}.png", png(samples, bits, colour_type, interlaced, palette)
                transparency = transparent_colour(make, samples, colour_type, bits)
                if transparency is not None and not interlaced:
                    data = png(samples, bits, colour_type, False, palette, transparency)
                    yield f"{name}-{bits}-transparent.png", data
    yield from png_metadata(make)


def transparent_colour(make, samples, colour_type, bits):
    if colour_type == 3:
        alphas = make.numbers.integers(0, 256, size=2**bits - 1 if bits < 8 else 150)
        return alphas.astype(np.uint8).tobytes()
    if colour_type in (0, 2):
        pixel = samples.reshape(-1, samples.shape[-1])[make.random.randrange(10)]
        return b"".join(struct.pack(">H", int(value)) for value in pixel)
    return None


def png_metadata(make):
    def stored(**chunks):
        return png(make.samples(*make.size(), 3, 8), 8, 2, **chunks)

    data = exif(6)
    profile = f"\nexif\n{len(data):8}\n{data.hex()}\n".encode()
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0" + b'<rdf:Description tiff:Orientation="8"/>'
    yield "exif-before.png", stored(before=chunk(b"eXIf", exif(5)[6:]))
    yield "exif-behind.png", stored(after=chunk(b"eXIf", exif(3, big_endian=True)[6:]))
    yield "exif-as-text.png", stored(before=chunk(b"tEXt", b"Raw profile type exif\0" + profile))
    yield "exif-as-packed-text.png", stored(
        before=chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile))
    )
    yield "xmp.png", stored(before=chunk(b"iTXt", xmp))
    yield "gamma.png", stored(before=chunk(b"gAMA", struct.pack(">I", 100000)))
    frames = [make.image("RGBA", (23, 19)) for _ in range(3)]
    yield "animated.png", encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=50)


# JPEG -----------------------------------------------------------------------


def jpeg_files(make):
    for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1"):
        for progressive in (False, True):
            name = f"{sampling.replace(':', '')}{'-progressive' if progressive else ''}.jpg"
            options = {"subsampling": sampling, "progressive": progressive, "quality": make.random.randint(40, 95)}
            yield name, encoded(make.image("RGB"), "JPEG", **options)
    yield "440.jpg", swap_sampling(encoded(make.image("RGB", (31, 31)), "JPEG", subsampling="4:2:2"))
    for orientation in range(1, 10):
        data = exif(orientation, big_endian=orientation % 2 == 0, as_long=orientation % 3 == 0)
        yield f"orientation-{orientation}.jpg", encoded(make.image("RGB", (29, 18)), "JPEG", exif=data)
    yield "xmp.jpg", with_xmp(encoded(make.image("RGB"), "JPEG"), b"<tiff:Orientation>6</tiff:Orientation>")
    yield "grey.jpg", encoded(make.image("L"), "JPEG")
    yield "restarts.jpg", encoded(make.image("RGB"), "JPEG", restart_marker_blocks=2)
    yield "rgb.jpg", encoded(make.image("RGB"), "JPEG", keep_rgb=True)
    cmyk = encoded(make.image("CMYK"), "JPEG", quality=90)
    yield "cmyk.jpg", cmyk
    yield "cmyk-progressive.jpg", encoded(make.image("CMYK"), "JPEG", progressive=True)
    yield "ycck.jpg", set_adobe_transform(cmyk, 2)
    yield "cmyk-unmarked.jpg", without_adobe(cmyk)


def marker(jpeg, code):
    at = jpeg.index(bytes([0xFF, code]))
    return at, at + 2 + struct.unpack(">H", jpeg[at + 2 : at + 4])[0]


def swap_sampling(jpeg):
    """4:2:2 read as 4:4:0: the blocks of a square picture fit both ways."""
    at, _ = marker(jpeg, 0xC0)
    return jpeg[: at + 11] + b"\x12" + jpeg[at + 12 :]


def with_xmp(jpeg, text):
    data = b"http://ns.adobe.com/xap/1.0/\0" + text
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + jpeg[2:]


def set_adobe_transform(jpeg, transform):
    _, end = marker(jpeg, 0xEE)
    return jpeg[: end - 1] + bytes([transform]) + jpeg[end:]


def without_adobe(jpeg):
    at, end = marker(jpeg, 0xEE)
    return jpeg[:at] + jpeg[end:]


# GIF ------------------------------------------------------------------------


def gif_files(make):
    for interlaced in (False, True):
        indices = Image.fromarray(make.scene(*make.size(), 1)[..., 0] // 2, "P")
        indices.putpalette(make.palette(128).tobytes())
        suffix = "-interlaced" if interlaced else ""
        yield f"palette{suffix}.gif", encoded(indices, "GIF", interlace=interlaced)
        yield f"transparent{suffix}.gif", encoded(indices, "GIF", interlace=interlaced, transparency=int(indices.getpixel((3, 3))))
    frames = [make.image("RGB", (25, 21)).quantize(30) for _ in range(3)]
    yield "animated.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], disposal=2)
    yield "grey.gif", encoded(make.image("L"), "GIF")
    yield "offset.gif", handmade_gif(make, local=False, transparent=None)
    yield "offset-transparent.gif", handmade_gif(make, local=False, transparent=3)
    yield "local-palette.gif", handmade_gif(make, local=True, transparent=None)
    yield "beyond-screen.gif", handmade_gif(make, local=True, transparent=5, screen=(9, 30))


def handmade_gif(make, local, transparent, screen=(31, 27)):
    """A frame of 19 x 17 at (4, 6), with 16 indices and a palette of 8."""
    colours = make.palette(8).tobytes()
    screen = struct.pack("<HHBBB", *screen, 0x80 | 2, 1, 0)
    control = b"" if transparent is None else b"!\xf9\x04" + bytes([1, 0, 0, transparent]) + b"\0"
    frame = b"," + struct.pack("<HHHHB", 4, 6, 19, 17, 0x80 | 2 if local else 0)
    own = make.palette(8).tobytes() if local else b""
    indices = make.numbers.integers(0, 16, size=19 * 17)
    comment = b"!\xfe\x05hello\0"
    return b"GIF89a" + screen + colours + comment + control + frame + own + uncompressed_lzw(indices, 4) + b";"


def uncompressed_lzw(indices, bits):
    """LZW that clears its table before the codes grow."""
    clear, codes, room = 1 << bits, [], (1 << bits) - 2
    for at in range(0, len(indices), room):
        codes += [clear, *indices[at : at + room]]
    total = sum(int(code) << (place * (bits + 1)) for place, code in enumerate([*codes, clear + 1]))
    data = total.to_bytes((len(codes) + 1) * (bits + 1) // 8 + 1, "little")
    blocks = b"".join(bytes([len(data[at : at + 255])]) + data[at : at + 255] for at in range(0, len(data), 255))
    return bytes([bits]) + blocks + b"\0"


# BMP ------------------------------------------------------------------------


def bmp(bits, width, height, pixels, palette=b"", compression=0, masks=b"", header=40, colours=0, top_down=False):
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        rows = -height if top_down else height
        info = struct.pack("<IiiHHIIiiII", header, width, rows, 1, bits, compression, len(pixels), 0, 0, colours, 0)
        info += (masks + bytes(header))[: header - 40]
        masks = masks if header == 40 else b""
    start = 14 + len(info) + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + info + masks + palette + pixels


def padded_rows(make, row_bytes, height):
    rows = make.numbers.integers(0, 256, size=(height, row_bytes)).astype(np.uint8)
    return b"".join(row.tobytes() + bytes(-row_bytes % 4) for row in rows)


def bmp_files(make):
    yield "24.bmp", encoded(make.image("RGB"), "BMP")
    yield "grey.bmp", encoded(make.image("L"), "BMP")
    yield "black-white.bmp", encoded(make.image("L").convert("1"), "BMP")
    for bits in (1, 4, 8):
        width, height = make.size()
        pixels = padded_rows(make, (width * bits + 7) // 8, height)
        few = 2**bits - 1 if bits > 1 else 2
        yield f"palette-{bits}.bmp", bmp(bits, width, height, pixels, make.palette(few, 4).tobytes(), colours=few)
        yield f"os2-{bits}.bmp", bmp(bits, width, height, pixels, make.palette(2**bits).tobytes(), header=12)
        data = bmp(bits, width, height, pixels, make.palette(2**bits, 4).tobytes(), header=108, top_down=True)
        yield f"top-down-{bits}.bmp", data
    yield from bmp_masks(make)
    for bits, compression in ((8, 1), (4, 2)):
        width, height = make.size()
        data, skipped = run_lengths(make, bits, width, height)
        palette = make.palette(2**bits, 4).tobytes()
        make.skipped[f"run-length-{bits}.bmp"] = skipped[::-1]
        yield f"run-length-{bits}.bmp", bmp(bits, width, height, data, palette, compression)


def bmp_masks(make):
    width, height = make.size()
    pixels = padded_rows(make, width * 2, height)
    yield "555.bmp", bmp(16, width, height, pixels)
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    yield "565.bmp", bmp(16, width, height, pixels, compression=3, masks=masks)
    width, height = make.size()
    pixels = padded_rows(make, width * 4, height)
    yield "32.bmp", bmp(32, width, height, pixels)
    layouts = {
        "bgrx": (0xFF0000, 0xFF00, 0xFF, 0),
        "xbgr": (0xFF000000, 0xFF0000, 0xFF00, 0),
        "abgr": (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        "rgba": (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        "bgra": (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    }
    for name, masks in layouts.items():
        data = bmp(32, width, height, pixels, compression=3, masks=struct.pack("<IIII", *masks), header=56)
        yield f"32-{name}.bmp", data


def run_lengths(make, bits, width, height):
    """Runs, absolute stretches and skips, row by row; and which pixels are skipped."""
    data, skipped = b"", np.zeros((height, width), bool)
    for y in range(height):
        x = 0
        while x < width:
            kind, most = make.random.randrange(10), min(40, width - x)
            count = make.random.randint(1, most)
            if kind == 0:
                data += bytes([0, 2, count, 0])
                skipped[y, x : x + count] = True
            elif kind < 5 and count >= 3:
                length = (count + 1) // 2 if bits == 4 else count
                data += bytes([0, count]) + make.random.randbytes(length) + bytes(length % 2)
            else:
                data += bytes([count, make.random.randrange(256)])
            x += count
        data += b"\0\0"
    return data + b"\0\1", skipped


# WebP -----------------------------------------------------------------------


def webp_files(make):
    yield "lossy.webp", encoded(make.image("RGB"), "WEBP", quality=60)
    yield "lossy-rough.webp", encoded(make.image("RGB"), "WEBP", quality=5, method=6)
    yield "lossy-alpha.webp", encoded(make.image("RGBA"), "WEBP", quality=75, alpha_quality=60)
    yield "lossless.webp", encoded(make.image("RGB"), "WEBP", lossless=True)
    yield "lossless-alpha.webp", encoded(make.image("RGBA"), "WEBP", lossless=True, exact=True)
    yield "exif.webp", encoded(make.image("RGB", (30, 20)), "WEBP", exif=exif(6))
    frames = [make.image("RGBA", (26, 22)) for _ in range(3)]
    background = (200, 30, 60, 255)
    yield "animated.webp", encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], background=background)


# TIFF -----------------------------------------------------------------------


def tiff(samples, bits=8, photometric=2, order="<", extra=None, planar=False, tile=None, tags=()):
    """An uncompressed TIFF: one strip, or tiles, or a strip for each channel."""
    height, width, channels = samples.shape
    kind = f"{order}u{bits // 8}"
    if tile:
        padded = np.zeros((-(-height // tile) * tile, -(-width // tile) * tile, channels), samples.dtype)
        padded[:height, :width] = samples
        rows, columns = range(0, padded.shape[0], tile), range(0, padded.shape[1], tile)
        parts = [padded[y : y + tile, x : x + tile] for y in rows for x in columns]
    else:
        parts = [samples[..., channel] for channel in range(channels)] if planar else [samples]
    parts = [part.astype(kind).tobytes() for part in parts]
    SHORT, LONG = ("H", 3), ("I", 4)
    entries = {256: (SHORT, [width]), 257: (SHORT, [height]), 258: (SHORT, [bits] * channels), 259: (SHORT, [1])}
    entries |= {262: (SHORT, [photometric]), 277: (SHORT, [channels]), 284: (SHORT, [2 if planar else 1])}
    entries |= {tag: (SHORT, [value]) for tag, value in tags}
    if extra is not None:
        entries[338] = (SHORT, [extra])
    where, sizes = (324, 325) if tile else (273, 279)
    entries |= {322: (SHORT, [tile]), 323: (SHORT, [tile])} if tile else {278: (SHORT, [height])}
    entries |= {where: (LONG, [0] * len(parts)), sizes: (LONG, [len(part) for part in parts])}
    at = 8 + 2 + 12 * len(entries) + 4
    values_at, values = at, b""
    pixels_at = at + sum(len(v) * struct.calcsize(t[0]) for t, v in entries.values() if len(v) * struct.calcsize(t[0]) > 4)
    entries[where] = (LONG, [pixels_at + sum(map(len, parts[:index])) for index in range(len(parts))])
    directory = struct.pack(order + "H", len(entries))
    for tag, ((letter, number), numbers) in sorted(entries.items()):
        data = struct.pack(order + letter * len(numbers), *numbers)
        field = data.ljust(4, b"\0")
        if len(data) > 4:
            field = struct.pack(order + "I", values_at + len(values))
            values += data
        directory += struct.pack(order + "HHI", tag, number, len(numbers)) + field
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(order + "I", 8)
    return head + directory + bytes(4) + values + b"".join(parts)


def tiff_files(make):
    orientation = {ORIENTATION: 6}
    yield "grey.tif", encoded(make.image("L"), "TIFF")
    yield "fax.tif", encoded(make.image("L").convert("1"), "TIFF", compression="group4")
    yield "black-white.tif", encoded(make.image("L").convert("1"), "TIFF")
    yield "lzw.tif", encoded(make.image("RGB"), "TIFF", compression="tiff_lzw")
    yield "deflate.tif", encoded(make.image("RGB"), "TIFF", compression="tiff_adobe_deflate", tiffinfo={317: 2})
    yield "packbits.tif", encoded(make.image("RGB"), "TIFF", compression="packbits")
    yield "alpha.tif", encoded(make.image("RGBA"), "TIFF", compression="tiff_lzw")
    yield "orientation.tif", encoded(make.image("RGB", (23, 17)), "TIFF", tiffinfo=orientation)
    pages = [make.image("RGB", (20 + page, 15)) for page in range(3)]
    yield "pages.tif", encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    yield "cmyk.tif", encoded(make.image("CMYK"), "TIFF")
    for order in "<>":
        name = "big-endian" if order == ">" else "little-endian"
        yield f"grey-16-{name}.tif", tiff(make.samples(*make.size(), 1, 16), 16, 1, order)
        yield f"rgb-16-{name}.tif", tiff(make.samples(*make.size(), 3, 16), 16, 2, order)
    yield "rgba-16.tif", tiff(make.samples(*make.size(), 4, 16), 16, extra=2)
    yield "white-is-zero.tif", tiff(make.samples(*make.size(), 1, 8), photometric=0)
    yield "tiles.tif", tiff(make.samples(45, 37, 3, 8), tile=16)
    yield "planes.tif", tiff(make.samples(*make.size(), 3, 8), planar=True)
    premultiplied = make.samples(*make.size(), 4, 8)
    premultiplied[..., :3] = premultiplied[..., :3] * premultiplied[..., 3:] // 255
    yield "premultiplied.tif", tiff(premultiplied, extra=1)


def tiff_samples(data):
    """The samples of one that `tiff` wrote with 8 bits and four channels."""
    image = Image.open(io.BytesIO(data))
    return np.frombuffer(data[-image.width * image.height * 4 :], np.uint8).reshape(image.height, image.width, 4)


# PNG with wrong checksums, and with a still picture besides its animation -------


def odd_png_files(make):
    samples = make.samples(*make.size(), 3, 8)
    data = png(samples, 8, 2, after=chunk(b"tEXt", b"Comment\0behind the pixels"))
    for name, kind in (("pixels", b"IDAT"), ("behind", b"tEXt")):
        yield f"checksum-{name}.png", wrong_checksum(data, kind)
    frames = [make.image("RGB", (21, 16)) for _ in range(3)]
    yield "still.png", encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True)


def wrong_checksum(data, kind):
    at = data.index(kind)
    end = at + 4 + struct.unpack(">I", data[at - 4 : at])[0]
    return data[:end] + bytes(byte ^ 0xFF for byte in data[end : end + 4]) + data[end + 4 :]


def later_webp_files(make):
    """Lossless pictures with every transform, cache and several groups of codes."""
    drawing = make.image("RGB", (150, 110))
    yield "lossless-groups.webp", encoded(drawing, "WEBP", lossless=True, quality=100, method=6)
    for colours in (2, 4, 16, 200):
        few = make.image("RGB", (61, 47)).quantize(colours).convert("RGB")
        yield f"lossless-{colours}.webp", encoded(few, "WEBP", lossless=True, quality=100, method=6)


def large_files(make):
    """Large pictures in small files, to see how much memory they take."""
    y, x = np.mgrid[0:900, 0:1200]
    channels = [x // 5 % 256, y // 4 % 256, (x // 150 + y // 150) % 2 * 180, 255 - (x + y) // 9 % 256]
    image = Image.fromarray(np.stack(channels, -1).astype(np.uint8), "RGBA")
    yield "large-lossy.webp", encoded(image.convert("RGB"), "WEBP", quality=20)
    yield "large-lossy-alpha.webp", encoded(image, "WEBP", quality=20)
    yield "large-lossless.webp", encoded(image.convert("RGB"), "WEBP", lossless=True)
    frames = [image.transpose(Image.Transpose.ROTATE_180)]
    yield "large-animated.webp", encoded(image, "WEBP", quality=20, save_all=True, append_images=frames)


# Files that must be refused ---------------------------------------------------


def bombs(make):
    """Small files that declare far more pixels than they hold: name, data, width, height."""
    side = 40_000
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    yield "bomb.png", data, side, side
    jpeg = encoded(make.image("RGB"), "JPEG", quality=20)
    at, _ = marker(jpeg, 0xC0)
    yield "bomb.jpg", jpeg[: at + 5] + struct.pack(">HH", side, side) + jpeg[at + 9 :], side, side
    gif = encoded(make.image("L", (5, 5)).quantize(4), "GIF")
    yield "bomb.gif", gif[:6] + struct.pack("<HH", side, side) + gif[10:], side, side
    yield "bomb.bmp", bmp(24, side, side, bytes(99)), side, side
    canvas = (16_383).to_bytes(3, "little") * 2
    webp = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + encoded(make.image("RGB"), "WEBP", quality=1)[12:]
    yield "bomb.webp", b"RIFF" + struct.pack("<I", len(webp)) + webp, 16_384, 16_384


# The reference ----------------------------------------------------------------


def reference(data):
    """RGB as Python sees it, or None where Python raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data))
            if image.mode.startswith("I;16"):
                return scaled_grey(image)
            return convert_to_rgb(ImageOps.exif_transpose(image), return_numpy=True)
    except (OSError, SyntaxError, ValueError, EOFError, IndexError):
        return None


def scaled_grey(image):
    """Glimpse's own rule: 16-bit greys are scaled, not clipped."""
    values = np.array(image).astype(np.int64)
    grey = (values * 255 * 2 + 65535) // (65535 * 2)
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)


def rounded(*bits):
    """Channels of so few bits, which Pillow widens by truncating, rounded instead."""

    def rule(rgb, data, make):
        largest = 2 ** np.array(bits) - 1
        stored = np.ceil(rgb * (largest / 255)).astype(int)
        assert (stored * 255 // largest == rgb).all()
        return (stored * 255 * 2 + largest) // (2 * largest)

    return rule


def skipped_black(name):
    return lambda rgb, data, make: np.where(make.skipped[name][..., None], 0, rgb)


def cmyk_truncated(rgb, data, make):
    inks = np.array(Image.open(io.BytesIO(data))).astype(np.float32)
    return ((np.float32(255) - inks[..., :3]) * (np.float32(1) - inks[..., 3:] / np.float32(255))).astype(np.uint8)


def added_white(rgb, data, make):
    samples = tiff_samples(data).astype(int)
    return np.minimum(samples[..., :3] + 255 - samples[..., 3:], 255)


# Where Glimpse's pixels are others than the reference's, and by how much at most.
OWN_RULES = {
    "555.bmp": (rounded(5, 5, 5), 1),
    "565.bmp": (rounded(5, 6, 5), 1),
    "run-length-8.bmp": (skipped_black("run-length-8.bmp"), 255),
    "run-length-4.bmp": (skipped_black("run-length-4.bmp"), 255),
    "cmyk.tif": (cmyk_truncated, 1),
    "premultiplied.tif": (added_white, 1),
}


def glimpse(name, data, make):
    """RGB as Glimpse sees it: the reference, but for its own rules."""
    rgb = reference(data)
    assert rgb is not None, f"the reference does not read {name}"
    if name in OWN_RULES:
        rule, most = OWN_RULES[name]
        own = rule(rgb, data, make).astype(np.uint8)
        assert np.abs(own.astype(int) - rgb).max() <= most, name
        return own
    return rgb


def truncations(data):
    """Lengths to cut a file to, and whether Python still reads it."""
    lengths = sorted({len(data) * percent // 100 for percent in (3, 25, 50, 75, 95)})
    return [[length, reference(data[:length]) is not None] for length in lengths]


def processed(rgb, settings):
    """Resized 8-bit RGB and pixel values."""
    processor = BlipImageProcessorPil(**settings)
    values = processor(Image.fromarray(rgb), return_tensors="np")["pixel_values"][0]
    plain = BlipImageProcessorPil(**settings | {"do_rescale": False, "do_normalize": False})
    resized = plain(Image.fromarray(rgb), return_tensors="np")["pixel_values"][0]
    return np.ascontiguousarray(resized.transpose(1, 2, 0)), np.ascontiguousarray(values.astype(np.float32))


def resizing_cases(make):
    """Pictures for the resampler: wide, tall, tiny, black and white."""
    yield make.scene(43, 29, 3)
    yield make.scene(13, 70, 3)
    yield (make.scene(24, 36, 3) > 127).astype(np.uint8) * 255
    yield make.scene(3, 2, 3)


def write(folder: Path, seed: int):
    """Writes the pictures, `expected.safetensors` and `expected.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    make = Maker(seed)
    tensors, cut, bomb_sizes, cases = {}, {}, {}, []
    # Those that came later have numbers of their own, so that the others stay as they are.
    later = Maker(seed + 1_000_003)
    kinds = [(make, files) for files in (png_files, jpeg_files, gif_files, bmp_files, webp_files)]
    for make_these, files in [*kinds, (later, tiff_files), (later, odd_png_files), (later, later_webp_files)]:
        for name, data in files(make_these):
            (folder / name).write_bytes(data)
            tensors[name] = np.ascontiguousarray(glimpse(name, data, make_these))
            cut[name] = truncations(data)
    for name, data in large_files(later):
        (folder / name).write_bytes(data)
    for name, data, width, height in bombs(make):
        (folder / name).write_bytes(data)
        bomb_sizes[name] = [width, height]
    for number, rgb in enumerate(resizing_cases(make)):
        tensors[f"source-{number}"] = rgb
        for index, settings in enumerate(SETTINGS):
            key = f"{number}-{index}"
            tensors[f"resized-{key}"], tensors[f"pixel-values-{key}"] = processed(rgb, settings)
            cases.append({"source": f"source-{number}", "key": key, "settings": settings})
    save_file(tensors, folder / "expected.safetensors")
    expected = {"seed": seed, "truncated": cut, "bombs": bomb_sizes, "processed": cases}
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
