"""Pins what no file may hold (left-behind words, one machine's paths) and what each folder must."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("certs", "sync", "adapters", "gateway", "deploy", "tests")
LINES_MAX = 450
README_LINES_MAX = {"sync": 340}  # normative for whoever writes a backend in another language
ALLOWED_AT_TOP = {
    *FOLDERS,
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "pyproject.toml",
    "requirements.lock",
}
# Written apart, so that this file does not hold what it looks for.
WORDS = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "NotImplemented" + "Error"]
WORDS += ["not " + "implemented", "place" + "holder", "for " + r"now(?! in\b)", "st" + "ub"]
LEFT_BEHIND = re.compile(rf"\b({'|'.join(WORDS)})\b")
MACHINE = re.compile(r"(?<![\w.}/-])/(root|work|home/\w+|Users/\w+)(?=[/\s\"'`)]|$)")
REGISTRY = re.compile("|".join(["index" + "-url", "py" + r"pi\.org", "python" + r"hosted\.org"]))


def files() -> list[Path]:
    """What is, or would be, committed."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout: it says which files are ours")
    listed = subprocess.run(
        [git, "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def hits(pattern: re.Pattern[str], *, besides: tuple[str, ...] = ()) -> list[str]:
    found = []
    for path in files():
        name = str(path.relative_to(ROOT))
        if name in besides:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or recorded bytes: no words in it
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    return found


def test_nothing_is_left_behind() -> None:
    assert hits(LEFT_BEHIND, besides=("LICENSE",)) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert hits(MACHINE) == []


def test_no_file_names_a_package_registry() -> None:
    assert hits(REGISTRY) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_has_a_short_readme_with_its_word(folder: str) -> None:
    text = (ROOT / folder / "README.md").read_text()
    street = (ROOT / "README.md").read_text()
    row = re.search(rf"^\| `{folder}` \| \*\*(.+?)\*\* \|", street, re.MULTILINE)
    assert row, f"{folder} is not on the map of README.md"
    assert row[1] in text.splitlines()[0]
    assert len(text.splitlines()) <= README_LINES_MAX.get(folder, 130)


def test_the_top_holds_only_what_belongs_there() -> None:
    top = {path.relative_to(ROOT).parts[0] for path in files()}
    assert {name for name in top if not name.startswith(".")} <= ALLOWED_AT_TOP


def test_each_python_file_reads_in_a_sitting() -> None:
    long = {
        str(name): count
        for path in files()
        if path.suffix == ".py"
        and (count := len(path.read_text().splitlines()))
        # A test file is a list that is read at one place at a time.
        > LINES_MAX * (2 if (name := path.relative_to(ROOT)).parts[0] == "tests" else 1)
    }
    assert long == {}


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in files() if re.fullmatch(r"test_\w+\.py", path.name)]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_links_between_our_documents_lead_somewhere() -> None:
    dead = [
        f"{path.relative_to(ROOT)} -> {target}"
        for path in files()
        if path.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)\)", path.read_text())
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert dead == []


def test_the_map_of_invariants_names_tests_and_checkers_that_exist() -> None:
    text = (ROOT / "tests/README.md").read_text()
    rows = re.findall(r"^\| (\d+) [^|]+\|([^|]*)\|([^|]*)\|$", text, re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, 19))
    checks = "".join(path.read_text() for path in (ROOT / "tests/simulation").glob("checks_*.py"))
    written = {
        (name, int(number))
        for name, number in re.findall(
            r"^class (\w+)\(Checker\):.*?^    invariant = (\d+)$", checks, re.MULTILINE | re.DOTALL
        )
    }
    told = {
        (name, int(number)) for number, named, _ in rows for name in re.findall(r"`(\w+)`", named)
    }
    assert told == {pair for pair in written if pair[1] > 0}
    paths = [path for *_, also in rows for path in re.findall(r"`([\w/]+\.py)`", also)]
    assert [path for path in paths if not (ROOT / "tests" / path).is_file()] == []


def test_the_map_of_requirements_has_every_row_that_can_be_shown_and_files_that_exist() -> None:
    text = (ROOT / "tests/README.md").read_text().partition("shows which requirement")[2]
    rows = re.findall(r"^\| (\d+) [^|]+ \| (.*) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == [row for row in range(1, 25) if row != 19]
    paths = [path for _, shown in rows for path in re.findall(r"`([\w/]+\.py)`", shown)]
    assert [path for path in paths if not (ROOT / "tests" / path).is_file()] == []
    assert all("`" in shown for _, shown in rows)


def test_the_map_of_the_cloud_simulation_is_what_it_checks_and_plants() -> None:
    simulation = ROOT / "tests/simulation"
    text = (simulation / "README.md").read_text().partition("## Between sites and a hub")[2]
    cloud = "".join(path.read_text() for path in sorted(simulation.glob("*cloud*.py")))
    told = re.findall(r"^\| `(\d\d_\w+)` \|", text, re.MULTILINE)
    listed = re.search(r'^CHECKERS = """([^"]+)"""', cloud, re.MULTILINE)
    assert listed
    assert sorted(told) == sorted(listed[1].split())
    errors = (simulation / "cloud_planted.py").read_text()
    planted = re.findall(r'CloudPlanted\(\s*"([^"]+)",\s*\(([^)]+)\)', errors)
    rows = re.findall(r"^\| ([a-z ]+) \| `(\d\d_\w+)` \| (.*)\|$", text, re.MULTILINE)
    assert [name for name, *_ in rows] == [name for name, _ in planted]
    assert [by for _, by, _ in rows] == [found.split('"')[1] for _, found in planted]
    paths = re.findall(r"`([\w/]+\.py)`", text)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / "tests" / path).is_file()] == []
