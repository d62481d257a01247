"""Pins that the runbooks say of the schema, the tests and the commands what is so."""

import re
from pathlib import Path

from sync.hub import cli
from tests.hubs import STORAGES
from tests.postgres import PARTS

ROOT = Path(__file__).resolve().parents[2]
SCALE = (ROOT / "deploy/runbooks/scale.md").read_text()
SCHEMA = "\n".join(
    path.read_text() for path in sorted((ROOT / "sync/hub/schema/postgres").glob("*.sql"))
)


def test_each_table_of_the_schema_is_dealt_out_by_its_site() -> None:
    tables = re.findall(r"^CREATE TABLE (\w+)", SCHEMA, re.MULTILINE)
    dealt = re.findall(r"SELECT create_distributed_table\('(\w+)', 'site_id'", SCALE)
    assert len(tables) > 10
    assert sorted(dealt) == sorted(tables)
    first, *others = re.findall(r"^SELECT create_distributed_table\(.*\);$", SCALE, re.MULTILINE)
    together = f"colocate_with => '{dealt[0]}'"
    assert "colocate_with" not in first
    assert [line for line in others if together not in line] == []


def test_site_comes_first_in_every_key_and_nothing_reaches_over_two_sites() -> None:
    for table in SCHEMA.split("CREATE TABLE ")[1:]:
        keys = re.findall(r"(?:PRIMARY KEY|UNIQUE) \((\w+)", table)
        assert set(keys or ["site_id"]) == {"site_id"}, table
        assert keys or "site_id     text    NOT NULL PRIMARY KEY" in table, table
    indexes = re.findall(r"CREATE (?:UNIQUE )?INDEX \w+ ON \w+ \((\w+)", SCHEMA)
    assert set(indexes) <= {"site_id"}
    statements = re.sub(r"--[^\n]*", "", SCHEMA).lower()
    assert not re.search(r"\b(references|serial|trigger|identity)\b", statements)


def test_what_was_run_is_what_the_tests_run() -> None:
    assert set(STORAGES) == {"sqlite", "postgres", "dealt"}
    assert f"into {PARTS} parts" in " ".join(SCALE.split())


def test_every_command_of_the_hub_in_the_documents_exists() -> None:
    folder = ROOT / "deploy"
    for path in (folder / "README.md", *sorted((folder / "runbooks").glob("*.md"))):
        named = re.findall(r"(?:-- |`|H )locker-hub ([a-z][a-z-]*)", path.read_text())
        assert sorted(set(named) - cli.COMMANDS.keys()) == [], path.name
