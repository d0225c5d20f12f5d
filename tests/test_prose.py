"""Documents read as plain English: short sentences and lines, the field's words, pictures that say what they show."""

import json
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = (ROOT / "docs", ROOT / "benchmarks", ROOT / ".github")
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for folder in FOLDERS for kind in ("md", "ipynb") for page in folder.rglob(f"*.{kind}")),
    ]
)
MAX_WORDS = 30
MAX_LINE = 120
MAX_PICTURE_BYTES = 300_000
# Phrases that a reader has to read twice, and what to write.
UNCLEAR = {
    r"\bgoes on with\b": "resumes",
    r"\bgo on with\b": "resume",
    r"\bstands? against\b": "survive",
    r"\bwhat stands\b": "unbroken",
    r"\bstill stand\b": "are still unbroken",
    r"\bare those of\b": "name the things",
    r"\bis none\b": "say what is missing",
    r"\b[Mm]easured (is|are)\b": "normal word order",
    r"\bwhat it makes of\b": "name the result",
    r"\bbut for\b": "except",
    r"\bof use\b": "useful",
}


def text_of(page: pathlib.Path) -> str:
    """Markdown of a page, or of a notebook's cells."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def _named(page: pathlib.Path) -> str:
    return str(page.relative_to(ROOT))


def paragraphs(text: str) -> list[str]:
    """The prose of a Markdown page: no code, no tables, no headings, no links' targets."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    text = re.sub(r"`[^`]*`", "Code", text)
    found, current = [], []
    for line in [*text.splitlines(), ""]:
        plain = line.strip()
        ends = not plain or plain.startswith(("|", "#", ":::", "!!!")) or line.startswith("    ")
        item = re.match(r"([-*+]|\d+\.) ", plain)
        if (ends or item) and current:
            found.append(" ".join(current))
            current = []
        if not ends:
            current.append(plain[item.end() :] if item else plain)
    return found


def sentences(text: str) -> list[str]:
    return [
        sentence
        for paragraph in paragraphs(text)
        for sentence in re.split(r"(?<=[.!?])[)*\"”]*\s+(?=[A-Z\[`*(\"])|:\s|;\s", paragraph)
        if sentence.strip()
    ]


def test_the_splitter_knows_code_tables_and_items():
    text = "One `a b c`. Two is here.\n\n| a | b |\n\n- three\n  goes on\n- four: five\n\n```\nnot prose\n```\n"
    assert sentences(text) == ["One Code.", "Two is here.", "three goes on", "four", "five"]


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_sentences_are_short(page):
    long = [s for s in sentences(text_of(page)) if len(s.split()) > MAX_WORDS]
    assert not long, f"{_named(page)}: more than {MAX_WORDS} words:\n" + "\n".join(long)


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_lines_are_short(page):
    lines = text_of(page).splitlines()
    long = [
        f"{_named(page)}:{number}"
        for number, line in enumerate(lines, 1)
        if len(line) > MAX_LINE and not line.startswith("|") and "](" not in line
    ]
    assert not long, long


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_words_are_plain(page):
    prose = "\n".join(paragraphs(text_of(page)))
    found = [f"{m[0]!r}: write {better!r}" for bad, better in UNCLEAR.items() for m in re.finditer(bad, prose)]
    assert not found, f"{_named(page)}: {found}"


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_links_and_pictures_exist(page):
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.S | re.M)
    for image, alt, target in re.findall(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", text):
        assert not image or len(alt.split()) >= 3, f"{_named(page)}: {target} needs an alternative text"
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            continue
        path = page.parent / target.split("#")[0]
        assert path.exists(), f"{_named(page)}: {target} does not exist"
        if "#" in target:
            anchors = {_anchor(h) for h in re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)}
            assert target.split("#")[1] in anchors, f"{_named(page)}: {target} is no heading of {path.name}"


def _anchor(heading: str) -> str:
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


@pytest.mark.parametrize(
    "picture", sorted([*(ROOT / "docs").rglob("*.png"), *(ROOT / "docs").rglob("*.gif")]), ids=_named
)
def test_pictures_are_small(picture):
    assert picture.stat().st_size <= MAX_PICTURE_BYTES
