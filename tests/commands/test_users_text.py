"""Text of users: brackets and colons in names, byte-order marks, scripts with joiners."""

import json

import numpy as np
import pytest

from ntire_sr.commands.options import stdout_console
from ntire_sr.core.errors import NtireSrError, is_printable, printable
from ntire_sr.core.files import read_json, write_csv
from ntire_sr.samples.image_files import write_png
from ntire_sr.submission.facts import read_team

PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"


@pytest.mark.parametrize("name", ["[red]", "[/bold]", "[link=x]", ":smile:"])
def test_names_are_printed_as_they_are(tmp_path, name, ntire_sr_command, capsys):
    stem = name.replace("/", "\u2215")
    write_png(tmp_path / "HR" / f"{stem}.png", np.zeros((20, 20, 3), np.uint8))
    result = ntire_sr_command("data", "check", "--hr", tmp_path / "HR", "--patch", 64)
    assert result.code == 0 and result.out.count(f"{stem}.png") == 2  # smallest, and too small
    from rich.table import Table

    table = Table(name, title=name)
    table.add_row(name)
    stdout_console().print(table)
    assert capsys.readouterr().out.count(name) == 3


def test_json_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "team.json").write_text(json.dumps({"team": "Größe"}), encoding="utf-8-sig")
    assert read_team(tmp_path / "team.json") == {"team": "Größe"}


def test_error_of_json_names_the_key_before_it(tmp_path):
    (tmp_path / "team.json").write_text('{"team": "a",\n "description": "two\nlines"}', encoding="utf-8")
    with pytest.raises(NtireSrError, match=r'Invalid control character.*, after the key "description"'):
        read_team(tmp_path / "team.json")
    (tmp_path / "team.json").write_text("[", encoding="utf-8")
    with pytest.raises(NtireSrError, match=r"is not valid JSON \([^()]*\(char 1\)\)"):
        read_json(tmp_path / "team.json", "team file")


def test_table_that_is_not_ascii_begins_with_a_byte_order_mark(tmp_path):
    write_csv(tmp_path / "a.csv", "name\nGröße\n")
    write_csv(tmp_path / "b.csv", "name\nsize\n")
    assert (tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbfname\n")
    assert (tmp_path / "b.csv").read_bytes() == b"name\nsize\n"


def test_joiners_belong_to_names_and_control_characters_do_not():
    assert is_printable(PERSIAN) and printable(PERSIAN) == PERSIAN and is_printable("👩\u200d🔬")
    assert not is_printable("a\u202eb") and not is_printable("a\nb")
