"""Reading and writing images."""

import io
import os
import warnings

import cv2
import numpy as np
import pytest
import torch
from conftest import RecordedProgress
from PIL import Image, ImageCms, PngImagePlugin

from ntire_sr.challenge.pixels import to_8bit, to_array, to_tensor, to_unit
from ntire_sr.core.errors import ArgumentTypeError, ArgumentValueError, NtireSrError
from ntire_sr.core.files import sha256_file
from ntire_sr.samples.image_files import check_png, metadata_notes, read_image, read_png, write_png
from ntire_sr.samples.metadata import NO_ORIENTATION, ImageNotes


def saved(path, image: Image.Image, **options):
    image.save(path, **options)
    return path


def test_png_round_trip_keeps_pixels(tmp_path, photograph):
    digest = write_png(tmp_path / "a.png", photograph)
    assert np.array_equal(read_image(tmp_path / "a.png"), photograph)
    assert digest == sha256_file(tmp_path / "a.png")
    header = check_png("a.png", (tmp_path / "a.png").read_bytes())
    assert (header.height, header.width, header.is_8bit_rgb) == (96, 128, True)


def test_read_png_works_with_opencv_4_8(tmp_path, photograph, monkeypatch):
    monkeypatch.delattr(cv2, "IMREAD_COLOR_RGB", raising=False)  # new in 4.11
    write_png(tmp_path / "a.png", photograph)
    assert np.array_equal(read_png(tmp_path / "a.png"), photograph)


def test_to_8bit_clips_and_rounds():
    values = torch.tensor([-1.0, 0.0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 254.6 / 255, 2.0]).view(1, 1, 1, -1)
    assert to_8bit(values).flatten().tolist() == [0, 0, 0, 1, 254, 255, 255]


def test_every_grey_level_survives_conversion_to_float():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(to_8bit(to_unit(levels)), levels)
    assert np.array_equal(to_tensor(to_array(levels)), levels)


def test_grey_and_1_bit_images_become_rgb(tmp_path):
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    image = read_image(saved(tmp_path / "grey.png", grey))
    assert image.shape == (8, 8, 3)
    assert (image == np.arange(64).reshape(8, 8, 1)).all()
    assert set(np.unique(read_image(saved(tmp_path / "bit.png", grey.convert("1"))))) <= {0, 255}


def test_palette_is_replaced_by_its_colours(tmp_path):
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[:, 4:] = (200, 10, 30)
    palette = Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    assert np.array_equal(read_image(saved(tmp_path / "palette.png", palette)), colours)


def test_opaque_alpha_is_dropped_and_transparency_refused(tmp_path, photograph):
    alpha = np.dstack([photograph, np.full(photograph.shape[:2], 255, np.uint8)])
    assert np.array_equal(read_image(saved(tmp_path / "opaque.png", Image.fromarray(alpha))), photograph)
    alpha[0, 0, 3] = 254
    with pytest.raises(NtireSrError, match=r"clear\.png has transparent pixels"):
        read_image(saved(tmp_path / "clear.png", Image.fromarray(alpha)))


@pytest.mark.parametrize("mode", ["grey", "colour"])
def test_16_bit_images_are_refused_by_name(tmp_path, mode):
    shape = (8, 8) if mode == "grey" else (8, 8, 3)
    cv2.imwrite(str(tmp_path / "deep.png"), np.full(shape, 30000, np.uint16))
    with pytest.raises(NtireSrError, match=r"deep\.png has 16 bits per channel"):
        read_image(tmp_path / "deep.png")


def test_cmyk_and_animated_images_are_refused(tmp_path, photograph):
    image = Image.fromarray(photograph)
    with pytest.raises(NtireSrError, match="mode CMYK"):
        read_image(saved(tmp_path / "print.jpg", image.convert("CMYK")))
    second = Image.fromarray(255 - photograph)
    with pytest.raises(NtireSrError, match="is animated"):
        read_image(saved(tmp_path / "film.webp", image, save_all=True, append_images=[second]))


def test_jpeg_and_webp_are_read_with_their_orientation(tmp_path, photograph):
    image = Image.fromarray(photograph)
    read = read_image(saved(tmp_path / "a.jpg", image, quality=100, subsampling=0))
    assert np.abs(read.astype(int) - photograph).mean() < 1
    assert np.array_equal(read_image(saved(tmp_path / "a.webp", image, lossless=True)), photograph)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    assert read_image(saved(tmp_path / "turned.jpg", image, exif=exif)).shape == (128, 96, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98])
def test_truncated_file_is_an_error_that_names_it(tmp_path, photograph, kind, share):
    content = io.BytesIO()
    Image.fromarray(photograph).save(content, kind)
    path = tmp_path / f"cut.{kind.lower()}"
    path.write_bytes(content.getvalue()[: int(len(content.getvalue()) * share)])
    with pytest.raises(NtireSrError, match="cut"):
        read_image(path)


def test_damaged_png_is_an_error_that_names_it(tmp_path, photograph):
    write_png(tmp_path / "a.png", photograph)
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[len(content) // 2] ^= 0x55
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(NtireSrError, match=r"a\.png is truncated or damaged"):
        read_image(tmp_path / "a.png")


def test_png_with_huge_size_is_refused_without_using_memory(tmp_path, photograph):
    import struct
    import zlib

    write_png(tmp_path / "bomb.png", photograph)
    content = bytearray((tmp_path / "bomb.png").read_bytes())
    content[16:24] = struct.pack(">II", 100_000, 100_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(NtireSrError, match=r"bomb\.png claims more pixels"):
        read_image(tmp_path / "bomb.png")


def test_file_that_is_not_an_image_is_an_error_that_names_it(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    for read in (read_image, read_png):
        with pytest.raises(NtireSrError, match=r"text\.png is not"):
            read(tmp_path / "text.png")
    with pytest.raises(NtireSrError, match=r"absent\.png"):
        read_image(tmp_path / "absent.png")


def test_multi_picture_jpeg_gives_its_first_picture(tmp_path, photograph):
    image = Image.fromarray(photograph)
    image.save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[image.resize((8, 8))], quality=95)
    assert read_image(tmp_path / "phone.jpg").shape == photograph.shape


def test_any_decoder_error_names_the_file(tmp_path, photograph, monkeypatch):
    def stumble(image):
        raise TypeError("bad operand")

    monkeypatch.setattr("ntire_sr.samples.image_files.ImageOps.exif_transpose", stumble)
    write_png(tmp_path / "odd.png", photograph)
    with pytest.raises(NtireSrError, match=r"odd\.png is truncated or damaged"):
        read_image(tmp_path / "odd.png")


def test_conversions_refuse_already_converted_images():
    levels = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8).expand(1, 3, 1, 3)
    with pytest.raises(ArgumentTypeError, match="of float32, not of uint8"):
        to_unit(to_unit(levels))  # it was divided by 255 twice
    with pytest.raises(ArgumentTypeError, match="of uint8, not floating"):
        to_8bit(levels)  # its levels wrapped around
    with pytest.raises(ArgumentValueError, match="not a single image"):
        to_array(torch.cat([levels, levels]))  # the first was returned for all


def noted(path) -> tuple[np.ndarray, list[str]]:
    notes: list[str] = []
    return read_image(path, notes.append), notes


@pytest.mark.parametrize("metadata", ["profile", "text", "garbage chunk"])
def test_pixels_are_read_whatever_the_size_of_the_metadata(tmp_path, photograph, metadata):
    info = PngImagePlugin.PngInfo()
    options = {"profile": {"icc_profile": os.urandom(20_000_000)}}.get(metadata, {"pnginfo": info})
    if metadata == "text":
        info.add_text("x", "y" * 3_000_000, zip=True)
        info.add_text("Raw profile type exif", "y" * 3_000_000, zip=True)
    if metadata == "garbage chunk":
        info.add(b"tIME", b"garbage")
        info.add(b"gAMA", b"")
    path = saved(tmp_path / "a.png", Image.fromarray(photograph), **options)
    image, notes = noted(path)
    assert np.array_equal(image, photograph) and np.array_equal(read_png(path), photograph)
    assert ["profile 'unknown'" in note for note in notes] == {"profile": [True], "text": [False]}.get(
        metadata, []
    )


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage!", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
def test_garbage_in_the_exif_block_is_a_note(tmp_path, photograph, kind, exif):
    path = saved(tmp_path / f"a.{kind}", Image.fromarray(photograph), exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image, notes = noted(path)
    assert image.shape == photograph.shape
    assert notes == metadata_notes(path) == [NO_ORIENTATION]


def test_orientation_in_texts_of_a_png_is_applied(tmp_path, photograph):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    info.add_text("comment", "y" * 3_000_000, zip=True)
    assert read_image(saved(tmp_path / "a.png", Image.fromarray(photograph), pnginfo=info)).shape == (
        128,
        96,
        3,
    )


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_colour_profiles_are_named(tmp_path, photograph, kind):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    other = srgb.replace("sRGB".encode("utf-16-be"), "Wide".encode("utf-16-be"))
    for name, profile, text in (
        ("srgb", srgb, "is left out"),
        ("wide", other, "'Wide built-in' is not applied"),
    ):
        image, notes = noted(
            saved(tmp_path / f"{name}.{kind}", Image.fromarray(photograph), icc_profile=profile, lossless=True)
        )
        assert len(notes) == 1 and text in notes[0] and image.shape == photograph.shape
        assert metadata_notes(tmp_path / f"{name}.{kind}") == notes


def test_notes_name_all_files_in_one_line():
    notes, progress = ImageNotes(), RecordedProgress()
    for number in range(7):
        notes.of(f"{number}.png")("no orientation")
    notes.report("LR", progress)
    assert progress.messages == [
        "note: LR images: no orientation: 0.png, 1.png, 2.png, 3.png, 4.png and 2 more"
    ]
