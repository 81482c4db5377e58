"""docs/conformance.md: its commands, files, examples and the JVM clock work."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from conformance import case_loader, cli, known_failures
from tests.support import tutorial

PAGE = (tutorial.DOCS / "conformance.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return tutorial.blocks(tutorial.DOCS / "conformance.md", language)


def test_options_exist() -> None:
    """Every option on the page exists."""
    group = typer.main.get_command(cli.app)
    assert isinstance(group, typer.core.TyperGroup)
    known_options = {name for command in group.commands.values() for each in command.params for name in each.opts}
    commands = re.findall(r"estelam conformance [^#\n]*(?:\n +--[^\n]*)*", "\n".join(blocks("sh") + blocks("yaml")))
    options = {option for command in commands for option in re.findall(r"--[a-z-]+", command)}

    assert options
    assert options <= known_options


def test_fixture_files_exist(tmp_path: Path) -> None:
    """`fixtures` writes every file that the page names."""
    done = CliRunner().invoke(cli.app, ["fixtures", str(tmp_path / "fixtures"), "--host", "my-service.test"])

    assert 0 == done.exit_code
    for name in re.findall(r"`((?:pki|steering|data)/[a-z./-]+)`", PAGE):
        found = tmp_path / "fixtures" / name
        assert found.exists() or found.with_suffix(".csv").exists(), name


def test_example_case(tmp_path: Path) -> None:
    """The example case is valid."""
    example = next(block for block in blocks("yaml") if block.startswith("- id:"))
    (tmp_path / "example.yaml").write_text(example, "utf-8")

    assert ["check-note.amount-differs"] == [case.id for case in case_loader.read(tmp_path)]


def test_example_known_failures(tmp_path: Path) -> None:
    """The example list of known failures is valid and names a case."""
    example = next(block for block in blocks("yaml") if block.startswith("- case:"))
    (tmp_path / "known.yaml").write_text(re.sub("expires: .*", "expires: 2099-01-01", example), "utf-8")

    assert set(known_failures.read(tmp_path / "known.yaml")) <= {case.id for case in case_loader.read()}


def test_example_job() -> None:
    """The example CI job is YAML and does not mask the exit code."""
    job = next(yaml.safe_load(block) for block in blocks("yaml") if block.startswith("conformance:"))
    runs = [step["run"] for step in job["conformance"]["steps"] if "run" in step]

    assert [run for run in runs if "conformance run" in run] == [runs[-1]]
    assert not re.search(r"\|\||continue-on-error", str(job))


USE = """
import java.nio.file.*;
import java.time.*;

class Use {{
    public static void main(String[] words) throws Exception {{
        {use}
        Instant before = clock.instant();
        Files.writeString(Path.of(steering, "offset"), "86400\\n");
        Thread.sleep(400);
        System.out.println(Duration.between(before, clock.instant()).toSeconds() + " " + today);
    }}
}}
"""


@pytest.mark.skipif(not shutil.which("javac"), reason="there is no Java compiler")
def test_jvm_clock(tmp_path: Path) -> None:
    """The example JVM clock follows the offset."""
    clock, use = blocks("java")
    (tmp_path / "SteeredClock.java").write_text(clock, "utf-8")
    (tmp_path / "Use.java").write_text(USE.format(use=use), "utf-8")
    (tmp_path / "offset").write_text("-3600\n", "ascii")
    subprocess.run(["javac", "SteeredClock.java", "Use.java"], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(
        ["java", "-cp", tmp_path, "Use"],
        env={"ESTELAM_STEERING": str(tmp_path), "PATH": str(Path(shutil.which("java") or "").parent)},
        check=True,
        capture_output=True,
        text=True,
    )

    assert re.fullmatch(r"9000[01] \d{4}-\d\d-\d\d\n", done.stdout)
