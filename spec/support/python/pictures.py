# SPDX-License-Identifier: MIT
"""Makes and looks at pictures for spec/files/preview_spec.lua, with python3-pil.

    pictures.py make DIRECTORY
    pictures.py show FILE ...       prints for each: format, width, height, colours of its corners
"""
import os
import struct
import sys
import zlib

from PIL import Image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112


def quarters(width, height, mode="RGB"):
    """Red and green above blue and white, from the upper left."""
    picture = Image.new(mode, (2, 2))
    picture.putdata([colour + ((255,) if mode == "RGBA" else ()) for colour in (RED, GREEN, BLUE, WHITE)])
    return picture.resize((width, height), Image.Resampling.NEAREST)


def make(directory):
    def path(name):
        return os.path.join(directory, name)

    wide = quarters(1500, 1000)
    for name in ("wide.jpg", "wide.png", "wide.gif", "wide.webp", "wide.bmp"):
        wide.save(path(name))
    wide.save(path("progressive.jpg"), progressive=True)
    wide.convert("CMYK").save(path("cmyk.jpg"))
    quarters(1, 3000).save(path("thin.png"))
    quarters(20, 10).save(path("small.png"))
    clear = quarters(1000, 1000, "RGBA")
    clear.putalpha(Image.new("L", clear.size, 100))
    clear.save(path("clear.png"))
    clear.save(path("clear.webp"))
    frames = [Image.new("RGB", (600, 400), colour) for colour in (RED, GREEN, BLUE)]
    frames[0].save(path("moving.gif"), save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[ORIENTATION] = orientation
        wide.save(path(f"turned{orientation}.jpg"), exif=exif)
    Image.effect_noise((3000, 3000), 100).save(path("large.png"))
    make_bombs(path)


def png(width, height, data):
    """Black and white, one bit a pixel."""
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def make_bombs(path):
    """Small files that say they are large pictures, or are."""
    def patch(source, target, at, data):
        with open(path(source), "rb") as file:
            content = bytearray(file.read())
        start = at(content)
        content[start:start + len(data)] = data
        with open(path(target), "wb") as file:
            file.write(content)

    huge = struct.pack(">HH", 65500, 65500)
    patch("wide.jpg", "bomb.jpg", lambda content: content.index(b"\xff\xc0") + 5, huge)
    patch("progressive.jpg", "bomb-progressive.jpg", lambda content: content.index(b"\xff\xc2") + 5, huge)
    patch("wide.gif", "bomb.gif", lambda content: 6, huge)
    patch("wide.gif", "frame.gif", lambda content: content.index(b",\0\0\0\0") + 5, huge)
    with open(path("bomb.png"), "wb") as file:
        file.write(png(20000, 20000, zlib.compress(bytes(20000 * (1 + 20000 // 8)), 9)))
    Image.new("1", (16383, 2000)).convert("RGB").save(path("bomb.webp"), lossless=True)
    frames = [Image.new("RGB", (1000, 1000), (number, 0, 0)) for number in range(40)]
    frames[0].save(path("moving.webp"), save_all=True, append_images=frames[1:], lossless=True)
    with open(path("bomb.webp"), "rb") as file:
        body = file.read()[12:]
    lie = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (99).to_bytes(3, "little") * 2
    with open(path("lie.webp"), "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 4 + len(lie) + len(body)) + b"WEBP" + lie + body)


def nearest(pixel):
    names = {"red": RED, "green": GREEN, "blue": BLUE, "white": WHITE}
    return min(names, key=lambda name: sum(abs(a - b) for a, b in zip(names[name], pixel)))


def show(file):
    picture = Image.open(file)
    picture.load()
    width, height = picture.size
    colours = picture.convert("RGB")
    corners = [nearest(colours.getpixel((x, y))) for y in (0, height - 1) for x in (0, width - 1)]
    print(picture.format, picture.mode, width, height, *corners)


if sys.argv[1] == "make":
    make(sys.argv[2])
else:
    for argument in sys.argv[2:]:
        show(argument)
