import builtins
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from isotypic.errors import RequestError
from isotypic.reports.build import build_report
from isotypic.reports.figures import learning_curves
from isotypic.reports.findings import find
from isotypic.reports.pictures import pictures
from isotypic.studies.folder import StudyRecords, write_study

VOID = {"meta", "br", "img", "link", "hr", "input"}
MOST_BYTES = 1_500_000


class Page(HTMLParser):
    """Counts what is opened and closed, and collects addresses and identifiers."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.addresses, self.identifiers, self.headings, self.figures = [], [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.stack.append(tag)
        self.figures += tag == "figure"
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.identifiers += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_data(self, data):
        if self.stack and self.stack[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="module")
def text(study_folder):
    return build_report(study_folder).read_text()


def rendered(fake_study, folder, skip=(), failed=(), **grid):
    return build_report(fake_study(folder, **grid).write(skip, failed)).read_text()


def test_the_page_is_self_contained_and_small(text):
    page = Page(text)
    assert page.stack == []
    assert [address for address in page.addresses if not address.startswith(("#", "data:"))] == []
    assert not re.search(r"url\((?!['\"]?#)|@import|<script|<link", text)
    assert len(text.encode()) < MOST_BYTES


def test_no_identifier_stands_twice_and_every_reference_is_met(text):
    page = Page(text)
    assert len(set(page.identifiers)) == len(page.identifiers)
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.identifiers)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(page.identifiers)


def test_the_page_says_all_that_it_should_in_order(text):
    assert Page(text).headings == [
        "Accuracy",
        "Accuracy against training-set size",
        "What the symmetry is worth in labels",
        "Data efficiency of every arm",
        "Learning curves",
        "Overfitting",
        "Accuracy under each rotation",
        "Which classes are confused",
        "Cost",
        "Epochs to the same loss",
        "How exact the symmetry is",
        "Paired comparisons",
        "Settings",
        "How to read this",
    ]
    assert text.index("Building the symmetry in was better.</p>") < text.index("<h2>")
    assert Page(text).figures == 7
    assert "0193720" in text
    assert "training: {optimizer: adam, learning_rate: 0.002, steps: 1500, batch_size: 50}" in text


def test_the_same_records_give_the_same_page(study_folder, text):
    assert build_report(study_folder).read_text() == text


def test_missing_and_failed_cells_are_listed(fake_study, tmp_path):
    text = rendered(fake_study, tmp_path, skip=(5, 20), failed=(13,))
    assert "Cells without a result" in text
    assert "loss is &lt;NaN&gt; &amp; &#34;lost&#34;" in text
    assert "Not run yet: cnn__none__n0300__seed1, cnn__rot90__n1000__seed0." in text
    assert Page(text).stack == []


def test_names_are_escaped_everywhere(fake_study, tmp_path):
    names = {"models": ["<b>CNN</b> $x^2$", "p4 & <i>co</i>"], "classes": ["<u>", "a & b", "c"]}
    text = rendered(fake_study, tmp_path, title="<script>alert(1)</script>", sizes=[100], seeds=[0], **names)
    assert not re.search(r"<script|<b>CNN|<i>co|<u>", text)
    assert "&lt;b&gt;CNN&lt;/b&gt; $x^2$" in text
    assert Page(text).stack == []


@pytest.mark.parametrize(
    ("skip", "grid"),
    [
        ((), {"sizes": [300]}),
        ((), {"seeds": [0], "sizes": [100, 200]}),
        ((), {"classes": ["benign", "malignant"], "sizes": [100]}),
        ((), {"models": ["CNN " * 30, "p4 " * 30], "augmentations": ["none", "rot90 " * 30], "sizes": [100]}),
        ((1,), {"sizes": [100], "seeds": [0]}),
        ((2, 3), {"sizes": [100], "seeds": [0]}),
        ((), {"augmentations": ["none"], "sizes": [100], "seeds": [0]}),
    ],
)
def test_unusual_studies_give_a_whole_page(fake_study, tmp_path, skip, grid):
    page = Page(rendered(fake_study, tmp_path, skip, **grid))
    assert page.stack == []
    assert "Accuracy" in page.headings


def test_a_grid_with_gaps_gives_a_whole_page_of_its_arms(fake_study, six_arms, tmp_path):
    text = rendered(fake_study, tmp_path, **six_arms, sizes=[100, 300], seeds=[0])
    page = Page(text)
    assert page.stack == []
    assert page.figures == 7
    assert "12 of 12 cells recorded" in text
    assert "Cells without a result" not in page.headings
    names = [arm.label for arm in six_arms["arms"]]
    rows = re.findall(r'<th scope="row">([^<]*)</th>', text)
    assert rows[: len(names)] == names
    assert "p4m G-CNN + rot90" not in text


def test_every_learning_curve_has_its_steps_whatever_is_below_it(fake_study, six_arms, tmp_path):
    study = fake_study(tmp_path, **six_arms, sizes=[100], seeds=[0])
    figure = learning_curves(find(StudyRecords.load(study.write())))
    assert figure.count(">optimiser step<") == figure.count(">500<") == 6


def with_picture(study, name):
    """The findings of a small study that names sample images."""
    info = study.info()
    study.write()
    write_study(study.folder, type(info).model_validate({**info.model_dump(), "sample_images": name}))
    return find(StudyRecords.load(study.folder))


def test_sample_images_are_embedded(fake_study, tmp_path):
    study = fake_study(tmp_path, sizes=[100], seeds=[0])
    (tmp_path / "samples.png").write_bytes(b"picture")
    assert pictures(tmp_path, with_picture(study, "samples.png")).sample == "data:image/png;base64,cGljdHVyZQ=="
    assert pictures(tmp_path, with_picture(study, None)).sample is None


@pytest.mark.parametrize("name", ["absent.png", "../outside.png", "study.json"])
def test_other_files_are_not_embedded(fake_study, tmp_path, name):
    folder = tmp_path / "study"
    findings = with_picture(fake_study(folder, sizes=[100], seeds=[0]), name)
    (tmp_path / "outside.png").write_bytes(b"secret")
    with pytest.raises(RequestError, match="must be a PNG, JPEG or SVG in"):
        pictures(folder, findings)


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_extra_is_named(study_folder, monkeypatch, package):
    true_import = builtins.__import__

    def absent(name, *rest, **named):
        if name.split(".")[0] == package:
            raise ImportError(name)
        return true_import(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(RequestError, match=rf'needs {package}: pip install "isotypic\[report\]"'):
        build_report(study_folder)


def test_reports_need_neither_torch_nor_the_network_code():
    code = "import sys, isotypic.reports.build; print([m for m in ('torch', 'lightning') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
