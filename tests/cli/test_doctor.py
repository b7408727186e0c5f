"""`vlmrl doctor`: machine, packages, engines."""

from helpers.command import run

from vlmrl import catalog
from vlmrl.cli import doctor


def test_it_names_what_would_run(capsys) -> None:
    done = run(capsys, "doctor")
    assert done.code == 0
    for word in ("CPU", "memory", "disk", "GPU", "math-verify", "train", *catalog.names("engines")):
        assert word in done.out


def test_what_is_missing_comes_with_the_command_that_installs_it(capsys, monkeypatch) -> None:
    installed = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: None if name == "peft" else installed(name))
    lines = run(capsys, "doctor").out.splitlines()
    (package,) = [line for line in lines if "missing peft" in line]
    (engine,) = [line for line in lines if line.split()[:1] == ["hf"]]
    for line in (package, engine):
        assert "pip install" in line
        assert "[train]" in line
