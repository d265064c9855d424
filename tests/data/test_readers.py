import gzip
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from isotypic.data.config import DataConfig
from isotypic.data.readers import idx, image, npz, table
from isotypic.errors import RequestError

DRAW = np.random.default_rng(0)
GREY = DRAW.integers(0, 256, (5, 7), dtype=np.uint8)
RGB = DRAW.integers(0, 256, (5, 7, 3), dtype=np.uint8)


class TestIdx:
    @pytest.mark.parametrize("name", ["a-idx3-ubyte", "a-idx3-ubyte.gz"])
    def test_reads_what_was_written(self, tmp_path, write_idx, name):
        array = DRAW.integers(0, 256, (3, 4, 5), dtype=np.uint8)
        np.testing.assert_array_equal(idx.read(write_idx(tmp_path / name, array), dimensions=3), array)

    def test_values_are_big_endian(self, tmp_path):
        (tmp_path / "a").write_bytes(bytes([0, 0, 0x0B, 1, 0, 0, 0, 2]) + bytes([1, 0, 0xFF, 0xFE]))
        np.testing.assert_array_equal(idx.read(tmp_path / "a"), [256, -2])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "not an IDX file.*received an empty file"),
            (b"\x89PNG", "not an IDX file.*received 89 50 4e 47"),
            (bytes([0, 0, 0x07, 1]), "not an IDX file"),
            (bytes([0, 0, 8, 2, 0, 0]), "truncated: the file ends within its header"),
            (bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2]), r"truncated: expected 3 bytes for \[3\], received 2"),
            (bytes([0, 0, 8, 3]) + b"\xff" * 12, "truncated: expected"),
            (bytes([0, 0, 8, 1, 0, 0, 0, 1, 1, 2]), r"expected 1 bytes for \[1\], received more"),
            (bytes([0, 0, 8, 1, 0, 0, 0, 1, 1]), "expected 3 dimensions, received 1"),
            (gzip.compress(bytes([0, 0, 8, 1, 0, 0, 7, 208]) + DRAW.bytes(2000))[:900], "cannot be read as IDX"),
        ],
    )
    def test_wrong_files_are_refused(self, tmp_path, content, message):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(RequestError, match=message):
            idx.read(tmp_path / "a", dimensions=3)

    def test_a_missing_file_is_refused(self, tmp_path):
        with pytest.raises(RequestError, match="nothing: cannot be read as IDX"):
            idx.read(tmp_path / "nothing")


def archive(path, **changes):
    arrays = {}
    for part, count in (("train", 6), ("val", 2), ("test", 4)):
        arrays[f"{part}_images"] = DRAW.integers(0, 256, (count, 8, 9, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 2
    arrays |= changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return arrays


class TestNpz:
    def test_parts_are_channels_first(self, tmp_path):
        arrays = archive(tmp_path / "a.npz")
        parts = npz.read(tmp_path / "a.npz")
        assert list(parts) == ["train", "validation", "test"]
        images, labels = parts["validation"]
        np.testing.assert_array_equal(images, arrays["val_images"].transpose(0, 3, 1, 2))
        assert labels.dtype == np.int64
        assert labels.tolist() == [0, 1]

    def test_grey_images_get_a_channel(self, tmp_path):
        archive(tmp_path / "a.npz", train_images=np.zeros((6, 8, 9), np.uint8))
        assert npz.read(tmp_path / "a.npz")["train"][0].shape == (6, 1, 8, 9)

    def test_volumes_get_a_channel(self, tmp_path):
        volumes = DRAW.integers(0, 256, (6, 7, 8, 9), dtype=np.uint8)
        archive(tmp_path / "a.npz", train_images=volumes)
        np.testing.assert_array_equal(npz.read(tmp_path / "a.npz")["train"][0], volumes[:, None])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"val_labels": None}, "unknown array 'val_labels': did you mean 'train_labels'?"),
            (
                {"train_images": np.zeros((6, 8, 8, 8, 3), np.uint8)},
                "or [N, z, y, x] of uint8, received [6, 8, 8, 8, 3]",
            ),
            ({"train_images": np.zeros((6, 8, 8))}, "received [6, 8, 8] of float64"),
            ({"test_labels": np.zeros((4, 14), int)}, "test_labels [4, 14] give several labels an image"),
            ({"test_labels": np.zeros((4, 1))}, "expected test_labels [N, 1] of integers"),
            ({"test_labels": np.array([[None]] * 4)}, "cannot be read as a NumPy archive"),
        ],
    )
    def test_wrong_archives_are_refused(self, tmp_path, changes, message):
        archive(tmp_path / "a.npz", **changes)
        with pytest.raises(RequestError, match=re.escape(message)):
            npz.read(tmp_path / "a.npz")

    @pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 broken"])
    def test_other_files_are_refused(self, tmp_path, content):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(RequestError, match=r"a\.npz: cannot be read as a NumPy archive"):
            npz.read(tmp_path / "a.npz")

    def test_a_single_array_is_refused(self, tmp_path):
        np.save(tmp_path / "a.npy", GREY)
        with pytest.raises(RequestError, match="cannot be read as a NumPy archive"):
            npz.read(tmp_path / "a.npy")


class TestImage:
    @pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "pgm"])
    def test_grey_is_one_channel(self, tmp_path, suffix):
        Image.fromarray(GREY).save(tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(image.read(tmp_path / f"a.{suffix}"), GREY[None])

    @pytest.mark.parametrize("mode", ["RGB", "RGBA"])
    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_colours_are_three_channels_without_alpha(self, tmp_path, mode, suffix):
        Image.fromarray(RGB).convert(mode).save(tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(image.read(tmp_path / f"a.{suffix}"), RGB.transpose(2, 0, 1))

    def test_grey_with_alpha_is_one_channel(self, tmp_path):
        Image.fromarray(GREY).convert("LA").save(tmp_path / "a.png")
        np.testing.assert_array_equal(image.read(tmp_path / "a.png"), GREY[None])

    def test_a_palette_gives_its_colours(self, tmp_path):
        indexed = Image.fromarray(RGB).quantize(64)
        indexed.save(tmp_path / "a.png")
        expected = np.asarray(indexed.convert("RGB")).transpose(2, 0, 1)
        np.testing.assert_array_equal(image.read(tmp_path / "a.png"), expected)

    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_sixteen_bits_are_divided_by_257(self, tmp_path, suffix):
        Image.fromarray(GREY.astype(np.uint16) * 257 + 100).save(tmp_path / f"a.{suffix}")
        expected = np.rint((GREY.astype(np.uint16) * 257 + 100) / 257)
        np.testing.assert_array_equal(image.read(tmp_path / f"a.{suffix}")[0], expected)

    def test_black_and_white_is_0_and_255(self, tmp_path):
        Image.fromarray(GREY > 99).save(tmp_path / "a.png")
        np.testing.assert_array_equal(image.read(tmp_path / "a.png")[0], (GREY > 99) * 255)

    def test_floats_in_0_to_1_are_scaled(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", GREY.astype(np.float32) / 255)
        np.testing.assert_array_equal(image.read(tmp_path / "a.tif")[0], GREY)

    def test_planar_and_inverted_tiffs(self, tmp_path):
        tifffile.imwrite(tmp_path / "p.tif", RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
        np.testing.assert_array_equal(image.read(tmp_path / "p.tif"), RGB.transpose(2, 0, 1))
        tifffile.imwrite(tmp_path / "w.tif", 255 - GREY, photometric="miniswhite")
        np.testing.assert_array_equal(image.read(tmp_path / "w.tif")[0], GREY)

    @pytest.mark.parametrize("values", [(0.0, 255.0), (-0.5, 0.5), (0.0, np.nan)])
    def test_floats_of_unknown_range_are_refused(self, tmp_path, values):
        tifffile.imwrite(tmp_path / "a.tif", np.array([values] * 2, dtype=np.float32))
        with pytest.raises(RequestError, match=r"a\.tif: expected floats in 0\.\.1, received"):
            image.read(tmp_path / "a.tif")

    def test_other_types_are_refused(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", GREY.astype(np.int32))
        with pytest.raises(RequestError, match="expected values of 8 or 16 bits or floats, received int32"):
            image.read(tmp_path / "a.tif")

    def test_several_pages_are_refused(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY] * 5))
        Image.fromarray(RGB).save(tmp_path / "a.gif", save_all=True, append_images=[Image.fromarray(255 - RGB)])
        for name, several in (("a.tif", "a stack of 5 planes"), ("a.gif", "2 frames")):
            with pytest.raises(RequestError, match=f"expected one image, received {several}"):
                image.read(tmp_path / name)

    def test_other_channels_are_refused(self, tmp_path):
        tifffile.imwrite(
            tmp_path / "a.tif", np.zeros((5, 7, 4), np.uint8), photometric="minisblack", planarconfig="contig"
        )
        with pytest.raises(RequestError, match="expected a grey or RGB image, received 4 channels"):
            image.read(tmp_path / "a.tif")

    def test_no_size_is_too_large_and_the_limit_of_others_stays(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        paths = [tmp_path / f"{number}.{suffix}" for number in range(20) for suffix in ("png", "gif", "webp")]
        for path in paths:
            Image.fromarray(GREY).save(path, lossless=True)
        with ThreadPoolExecutor(8) as threads:
            for path, found in zip(paths, threads.map(image.read, paths), strict=True):
                np.testing.assert_array_equal(found[0], GREY, str(path))
        assert Image.MAX_IMAGE_PIXELS == 10
        with pytest.raises(Image.DecompressionBombError):
            Image.open(paths[0])

    def test_printing_colours_are_refused(self, tmp_path):
        Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.jpg")
        Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.tif")
        with pytest.raises(RequestError, match="expected a grey or RGB image, received CMYK"):
            image.read(tmp_path / "a.jpg")
        with pytest.raises(RequestError, match="expected a grey or RGB image, received SEPARATED"):
            image.read(tmp_path / "a.tif")

    def test_broken_files_are_refused_by_name(self, tmp_path):
        Image.fromarray(RGB).save(tmp_path / "cut.png")
        Image.fromarray(RGB).save(tmp_path / "cut.tif")
        for name in ("cut.png", "cut.tif"):
            (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:60])
        (tmp_path / "text.png").write_text("hello")
        (tmp_path / "empty.png").touch()
        with pytest.raises(RequestError, match=r"text\.png: .*\(Pillow can not read"):  # the reason, not imageio's
            image.read(tmp_path / "text.png")
        for name in ("cut.png", "cut.tif", "text.png"):
            with pytest.raises(RequestError, match=rf"{name}: cannot be read as an image \("):
                image.read(tmp_path / name)
        with pytest.raises(RequestError, match=r"empty\.png: the image file is empty"):
            image.read(tmp_path / "empty.png")
        with pytest.raises(RequestError, match=r"gone\.png: no such image file"):
            image.read(tmp_path / "gone.png")

    def test_listing_is_sorted_and_leaves_hidden_files_out(self, tmp_path):
        for name in ("b/2.PNG", "b/1.jpg", "a/1.tif", "a/notes.txt", ".cache/1.png", "b/._1.jpg"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        found = [str(path.relative_to(tmp_path)) for path in image.list_images(tmp_path)]
        assert found == ["a/1.tif", "b/1.jpg", "b/2.PNG"]


class TestTable:
    def read(self, folder, text, **config):
        (folder / "t.csv").write_text(text)
        return table.read(folder / "t.csv", DataConfig(**config))

    def test_cells_are_text(self, tmp_path):
        rows = self.read(tmp_path, "file,label,patient,split\na.png,NA,001,train\nb.png, 1 ,002,test\n")
        assert rows.labels.tolist() == ["NA", "1"]
        assert rows.subjects.tolist() == ["001", "002"]
        assert rows.split.tolist() == ["train", "test"]

    def test_patient_and_split_may_be_absent(self, tmp_path):
        rows = self.read(tmp_path, "\ufefffile,label\na.png,x\nb.png,y\n")
        assert rows.subjects is None
        assert rows.split is None

    @pytest.mark.parametrize(
        ("text", "config", "message"),
        [
            ("files,label\na,x\n", {}, "unknown column 'file': did you mean 'files'? Known: files, label"),
            ("file,klass\na,x\n", {"label_column": "class"}, "unknown column 'class': did you mean 'klass'?"),
            ("file,label\na,x\n", {"subject_column": "slide"}, "unknown column 'slide': Known: file, label"),
            ("file,label\na,x\nb,\n", {}, "line 3 has an empty cell in column 'label'"),
            ("file,label\na,x\na,y\n", {}, "lists 'a' twice"),
            ("file,label\n", {}, "the table has no rows"),
            ("", {}, "cannot be read as a CSV file"),
            ('file,label\n"a,x\n', {}, "cannot be read as a CSV file"),
        ],
    )
    def test_wrong_tables_are_refused(self, tmp_path, text, config, message):
        with pytest.raises(RequestError, match=re.escape(message)):
            self.read(tmp_path, text, **config)

    def test_other_encodings_are_refused(self, tmp_path):
        pd.DataFrame({"file": ["ä"], "label": ["x"]}).to_csv(tmp_path / "t.csv", encoding="latin-1")
        with pytest.raises(RequestError, match="cannot be read as a CSV file"):
            table.read(tmp_path / "t.csv", DataConfig())
