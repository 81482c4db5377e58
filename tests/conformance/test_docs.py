"""The page for outside teams is true: its commands exist, its example case is one, its clock goes right on the JVM."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from conformance import case_loader, cli, known_failures

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "conformance.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_option_on_the_page_is_one_of_the_command() -> None:
    group = typer.main.get_command(cli.app)
    assert isinstance(group, typer.core.TyperGroup)
    known_options = {name for command in group.commands.values() for each in command.params for name in each.opts}
    spoken = re.findall(r"estelam conformance [^#\n]*(?:\n +--[^\n]*)*", "\n".join(blocks("sh") + blocks("yaml")))
    told = {option for command in spoken for option in re.findall(r"--[a-z-]+", command)}

    assert told
    assert told <= known_options


def test_the_fixtures_command_writes_what_the_page_names(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["fixtures", str(tmp_path / "fixtures"), "--host", "my-service.test"])

    assert 0 == done.exit_code
    for name in re.findall(r"`((?:pki|steering|data)/[a-z./-]+)`", PAGE):
        found = tmp_path / "fixtures" / name
        assert found.exists() or found.with_suffix(".csv").exists(), name


def test_the_example_case_is_a_case(tmp_path: Path) -> None:
    example = next(block for block in blocks("yaml") if block.startswith("- id:"))
    (tmp_path / "example.yaml").write_text(example, "utf-8")

    assert ["check-note.amount-differs"] == [case.id for case in case_loader.read(tmp_path)]


def test_the_example_list_of_known_failures_is_one_and_names_a_case(tmp_path: Path) -> None:
    example = next(block for block in blocks("yaml") if block.startswith("- case:"))
    (tmp_path / "known.yaml").write_text(re.sub("expires: .*", "expires: 2999-01-01", example), "utf-8")

    assert set(known_failures.read(tmp_path / "known.yaml")) <= {case.id for case in case_loader.read()}


def test_the_example_job_is_yaml_with_the_exit_code_left_to_the_command() -> None:
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
def test_the_clock_for_the_jvm_follows_the_offset(tmp_path: Path) -> None:
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
