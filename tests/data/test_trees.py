import pytest

from isotypic.data.readers.tree import open_tree
from isotypic.errors import RequestError

FILES = {"a/2.png": b"two", "a/1.PNG": b"one", "b/x.txt": b"text", ".hidden/c": b"", "__MACOSX/a/2.png": b""}


class TestTree:
    @pytest.mark.parametrize("name", ["folder", "archive.zip"])
    def test_folders_and_archives_are_the_same(self, place, name):
        tree = open_tree(place(name, FILES))
        assert tree.names == ("a/1.PNG", "a/2.png", "b/x.txt")
        assert tree.read("a/2.png") == b"two"
        assert tree.where("a/2.png").endswith(f"{name}/a/2.png")
        assert tree.stems("a", frozenset({".png"})) == {"1": "a/1.PNG", "2": "a/2.png"}
        assert tree.stems("b", frozenset({".png"})) == {}

    @pytest.mark.parametrize("name", ["folder", "archive.zip"])
    def test_the_fingerprint_follows_the_files(self, place, name):
        before = open_tree(place(name, FILES)).fingerprint()
        assert open_tree(place(name, {})).fingerprint() == before or name.endswith(".zip")
        assert open_tree(place(name, {**FILES, "a/3.png": b"three"})).fingerprint() != before

    def test_wrong_requests_are_refused(self, place, tmp_path):
        with pytest.raises(RequestError, match="gone: no such file or folder"):
            open_tree(tmp_path / "gone")
        with pytest.raises(RequestError, match=r"a: expected a folder or a \.zip archive"):
            open_tree(place("folder", {"a": b""}) / "a")
        (tmp_path / "broken.zip").write_bytes(b"no archive")
        with pytest.raises(RequestError, match=r"broken\.zip: cannot be read as a zip archive"):
            open_tree(tmp_path / "broken.zip")
        with pytest.raises(RequestError, match=r"a/1\.tif: 'a/1\.png' has the same name; keep one of them"):
            open_tree(place("twins", {"a/1.png": b"", "a/1.tif": b""})).stems("a", frozenset({".png", ".tif"}))
        with pytest.raises(RequestError, match=r"other/a: cannot be read \(Is a directory\)"):
            open_tree(place("other", FILES)).read("a")

    def test_a_damaged_member_is_named(self, place):
        path = place("archive.zip", {"a.bin": bytes(range(256)) * 4})
        content = bytearray(path.read_bytes())
        content[100] ^= 0xFF
        path.write_bytes(content)
        with pytest.raises(RequestError, match=r"archive\.zip/a\.bin: cannot be read from the archive \(Bad CRC"):
            open_tree(path).read("a.bin")
